using Sora.Federation.Aggregation.Robust;
using Sora.Federation.Aggregation.Strategies;
using Sora.Protocol.Jobs;

namespace Sora.Federation.Rounds;

/// <summary>What must hold between the federated settings of a job. Pure: looks at nothing else, and gathers every violation.</summary>
public static class FederationValidation
{
    /// <summary>Everything wrong with the settings; empty when they are fine.</summary>
    public static IReadOnlyList<JobError> Check(FederationSettings settings)
    {
        var check = new Checker();
        CheckRounds(check, settings);
        CheckMode(check, settings);
        CheckStrategy(check, settings);
        CheckUpdates(check, settings);
        CheckSecureAggregation(check, settings);
        if (settings.DifferentialPrivacy is { } privacy)
            CheckPrivacy(check, privacy);
        return check.Errors;
    }

    /// <summary>The same, for who cannot go on with wrong ones.</summary>
    /// <exception cref="JobErrors">Something is wrong; it names all of it.</exception>
    public static void Require(FederationSettings settings)
    {
        if (Check(settings) is { Count: > 0 } errors)
            throw new JobErrors(errors);
    }

    private static void CheckRounds(Checker check, FederationSettings settings)
    {
        check.That("rounds", settings.Rounds >= 1, "use 1 or more");
        check.That("local_steps", settings.LocalSteps >= 0, "use 0 or more");
        check.That("local_epochs", settings.LocalEpochs >= 0, "use 0 or more");
        check.That("local_steps", settings.LocalSteps <= 0 || settings.LocalEpochs <= 0, "a site works either for local_steps or for local_epochs: set the other to 0");
        check.That("local_epochs", settings.LocalSteps != 0 || settings.LocalEpochs != 0, "there is nothing to do in a round: set local_epochs or local_steps to 1 or more");
        check.That("fraction_train", settings.FractionTrain is > 0 and <= 1, "use a share above 0, up to 1");
        check.That("min_available_sites", settings.MinAvailableSites >= 1, "use 1 or more");
        check.That("quorum", settings.Quorum is null or >= 1, "use 1 or more, or null for all updates a round wants");
        check.That("quorum", settings.Quorum is not { } quorum || quorum <= settings.MinAvailableSites || settings.MinAvailableSites < 1,
            $"a round begins with min_available_sites, {settings.MinAvailableSites}, and can have no more updates than sites: use at most that, or raise it");
        check.That("over_selection", settings.OverSelection is >= 1 and <= 10, "use 1 to 10, for example 1.3");
        check.That("round_deadline", settings.RoundDeadline is >= 1 and <= 10_000_000, "use 1 to 10000000 seconds");
        check.That("max_attempts", settings.MaxAttempts >= 0, "use 1 or more, or 0 for as often as it takes");
        check.That("eval_rounds", settings.EvalRounds >= 0, "use 0 or more");
    }

    private static void CheckMode(Checker check, FederationSettings settings)
    {
        if (settings.Mode == FederationMode.Synchronous)
        {
            check.That("strategy", settings.Strategy.Name != "fedbuff", "fedbuff needs mode: asynchronous");
            return;
        }
        check.That("buffer_size", settings.BufferSize >= 1, "use 1 or more");
        check.That("buffer_size", settings.BufferSize <= settings.MinAvailableSites, $"a site counts once in a buffer: use at most min_available_sites, {settings.MinAvailableSites}, or raise that");
        check.That("max_staleness", settings.MaxStaleness >= 0, "use 0 or more");
        check.That("fraction_train", settings.FractionTrain >= 1, "asynchronous sites all train all the time: use 1");
        check.That("over_selection", settings.OverSelection <= 1, "asynchronous sites all train all the time: use 1");
        check.That("quorum", settings.Quorum is null, "an asynchronous round closes with buffer_size updates: remove the quorum");
        check.That("eval_rounds", settings.EvalRounds == 0, "asynchronous sites never stand still before the end: use 0, which evaluates the last model");
        check.That("strategy", settings.Strategy.Name is "fedbuff", "asynchronous rounds need strategy: fedbuff, which weights stale updates");
        check.That("secure_aggregation", settings.SecureAggregation is null, "masks cancel only among updates of the same model: use mode: synchronous");
    }

    private static void CheckStrategy(Checker check, FederationSettings settings)
    {
        var strategy = settings.Strategy;
        var errors = StrategyCatalog.Check(strategy.Name, strategy.Parameters);
        foreach (var error in errors)
            check.That(error.Parameter is null ? "strategy" : $"strategy.{error.Parameter}", false, error.Advice);
        if (errors.Count > 0)
            return;
        var created = StrategyCatalog.Create(strategy.Name, strategy.Parameters);
        var fewest = settings.Quorum ?? (int)Math.Ceiling(settings.FractionTrain * settings.MinAvailableSites);
        foreach (var krum in created.Screens.OfType<Krum>())
        {
            check.That("strategy.byzantine_sites", fewest >= krum.LeastUpdates,
                $"{strategy.Name} needs {krum.LeastUpdates} updates against {krum.NumMaliciousNodes} malicious sites, and a round may close with {fewest}: raise min_available_sites or quorum, or lower it");
            check.That("strategy.selected_sites", krum.Select <= fewest, $"a round may close with {fewest} updates: use at most so many");
        }
        check.That("strategy.total_sites", created.Optimizer is not Scaffold { TotalSites: 0 } || settings is { FractionTrain: >= 1, OverSelection: <= 1 },
            "scaffold must know how many sites there are when not all of them take part in each round");
    }

    private static void CheckUpdates(Checker check, FederationSettings settings)
    {
        check.That("quantization", settings.SecureAggregation is null || settings.Quantization == UpdateQuantization.Fp32,
            "secure aggregation has fixed-point numbers of its own: use fp32");
    }

    private static void CheckSecureAggregation(Checker check, FederationSettings settings)
    {
        if (settings.SecureAggregation is not { } secure)
            return;
        check.That("secure_aggregation.threshold", secure.Threshold is > 0.5 and <= 1, "use a share above 0.5, up to 1: with less, two halves of the cohort could be played off against each other");
        check.That("secure_aggregation.stage_deadline", secure.StageDeadline is >= 1 and <= 1_000_000, "use 1 to 1000000 seconds");
        check.That("strategy", !StrategyCatalog.NeedingSingleUpdates.Contains(settings.Strategy.Name), $"{settings.Strategy.Name} compares single updates, which secure aggregation hides: use another strategy or leave secure_aggregation out");
        foreach (var screen in StrategyCatalog.ScreeningParameters.Where(settings.Strategy.Parameters.ContainsKey))
            check.That($"strategy.{screen}", false, "it looks at single updates, which secure aggregation hides: leave it or secure_aggregation out");
        check.That("min_available_sites", settings.MinAvailableSites >= 2, "a sum over one site is its update: use 2 or more with secure_aggregation");
        check.That("quorum", settings.Quorum is null or >= 2, "a sum over one site is its update: use 2 or more with secure_aggregation");
    }

    private static void CheckPrivacy(Checker check, DifferentialPrivacySettings privacy)
    {
        check.That("differential_privacy.noise_multiplier", privacy.NoiseMultiplier > 0 && double.IsFinite(privacy.NoiseMultiplier), "use a positive number");
        check.That("differential_privacy.clipping_norm", privacy.ClippingNorm > 0 && double.IsFinite(privacy.ClippingNorm), "use a positive number");
        check.That("differential_privacy.target_epsilon", privacy.TargetEpsilon > 0 && double.IsFinite(privacy.TargetEpsilon), "use a positive number");
        check.That("differential_privacy.delta", privacy.Delta is > 0 and < 1, "use a number between 0 and 1, well below one part in the number of examples");
    }

    private sealed class Checker
    {
        private readonly List<JobError> _errors = [];

        public IReadOnlyList<JobError> Errors => _errors;

        public void That(string key, bool holds, string advice)
        {
            if (!holds)
                _errors.Add(new JobError($"federated.{key}", null, $"federated.{key}: {advice}."));
        }
    }
}
