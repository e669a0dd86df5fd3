using System.Collections.Immutable;
using Sora.Protocol.Jobs;

namespace Sora.Federation.Rounds;

/// <summary>What a job's <c>federated</c> section means.</summary>
public static class FederatedJob
{
    /// <summary>The settings, with what depends on other keys filled in.</summary>
    /// <exception cref="JobErrors">Something is wrong; it names all of it, with lines where they are known.</exception>
    public static FederationSettings Settings(TrainingJob job, IReadOnlyDictionary<string, JobOrigin>? origins = null)
    {
        var section = job.Federated;
        if (!section.IsOn)
            throw new SoraException("The job is not federated: it has no section 'federated' with rounds in it. Train it with 'sora train', or add the section.", ExitCode.Usage);
        var asynchronous = section.Mode == FederationMode.Asynchronous;
        var settings = new FederationSettings
        {
            Mode = section.Mode,
            Rounds = section.Rounds,
            LocalSteps = section.LocalSteps,
            LocalEpochs = section.LocalEpochs ?? (section.LocalSteps > 0 ? 0 : 1),
            FractionTrain = section.FractionTrain,
            MinAvailableSites = section.MinAvailableSites,
            Quorum = section.Quorum,
            OverSelection = section.OverSelection,
            RoundDeadline = section.RoundDeadline,
            MaxAttempts = section.MaxAttempts,
            EvalRounds = section.EvalRounds ?? (asynchronous ? 0 : 1),
            BufferSize = section.BufferSize,
            MaxStaleness = section.MaxStaleness,
            Strategy = StrategyOf(section.Strategy),
            Quantization = section.Quantization,
            SecureAggregation = section.SecureAggregation is { Enabled: true } secure ? new SecureAggregationSettings(secure.Threshold, secure.StageDeadline) : null,
            DifferentialPrivacy = section.DifferentialPrivacy is { Model: { } model } privacy
                ? new DifferentialPrivacySettings(model, privacy.NoiseMultiplier, privacy.ClippingNorm, privacy.TargetEpsilon, privacy.Delta)
                : null,
        };
        var errors = FederationValidation.Check(settings);
        return errors.Count == 0 ? settings : throw new JobErrors([.. errors.Select(error => Located(error, origins))]);
    }

    private static StrategySettings StrategyOf(StrategySection strategy)
    {
        (string Name, double? Value)[] parameters =
        [
            ("server_learning_rate", strategy.ServerLearningRate), ("server_momentum", strategy.ServerMomentum), ("proximal_mu", strategy.ProximalMu),
            ("beta_1", strategy.Beta1), ("beta_2", strategy.Beta2), ("tau", strategy.Tau), ("staleness_exponent", strategy.StalenessExponent),
            ("trim_fraction", strategy.TrimFraction), ("byzantine_sites", strategy.ByzantineSites), ("selected_sites", strategy.SelectedSites),
            ("total_sites", strategy.TotalSites), ("clipping_norm", strategy.ClippingNorm), ("max_norm_ratio", strategy.MaxNormRatio), ("min_cosine", strategy.MinCosine),
        ];
        return new StrategySettings(strategy.Type)
        {
            Parameters = parameters.Where(parameter => parameter.Value is not null).ToImmutableSortedDictionary(parameter => parameter.Name, parameter => parameter.Value!.Value, StringComparer.Ordinal),
        };
    }

    private static JobError Located(JobError error, IReadOnlyDictionary<string, JobOrigin>? origins)
    {
        var places = (origins ?? ImmutableDictionary<string, JobOrigin>.Empty).Where(origin => origin.Key == error.Key || origin.Key.StartsWith(error.Key + ".", StringComparison.Ordinal));
        return places.OrderBy(origin => origin.Key, StringComparer.Ordinal).Select(origin => (JobOrigin?)origin.Value).FirstOrDefault() is { } place ? error with { Origin = place } : error;
    }
}
