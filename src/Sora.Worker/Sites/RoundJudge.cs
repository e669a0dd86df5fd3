using Sora.Federation.Policies;
using Sora.Federation.Rounds;
using Sora.Protocol.Jobs;

namespace Sora.Worker.Sites;

/// <summary>What the site's policy says to a round.</summary>
/// <param name="Request">What was asked; null: the policy's file is not sound, and nothing was weighed.</param>
/// <param name="Broken">Every rule it breaks, as text; none: it is permitted.</param>
/// <param name="ForJob">It will not permit any other round of the job either.</param>
internal sealed record RoundRuling(RoundRequest? Request, IReadOnlyList<string> Broken, bool ForJob)
{
    public bool IsAllowed => Broken.Count == 0;

    public string Refusal => string.Join("; ", Broken);
}

/// <summary>
/// Puts to the policy what a run asks of the site. All of it is the run as this process carries it out (who proved to be the coordinator, what
/// is read, clipped, noised and sent), never a claim of the coordinator about itself.
/// </summary>
internal sealed class RoundJudge(PolicySource policies, SiteAssignment assignment, LocalPlan plan, SitePrivacy privacy, TimeProvider time)
{
    // The only rule whose answer changes by itself.
    private const string OpeningHours = "opening_hours.open";

    private readonly FederationSettings _settings = assignment.Run.Settings;

    /// <summary>Whether the site takes part in a round.</summary>
    /// <param name="announced">The round.</param>
    /// <param name="coordinator">Fingerprint of the coordinator's key.</param>
    /// <param name="updatesBefore">Updates of the job that may have left before.</param>
    public RoundRuling Judge(RoundAnnounced announced, string coordinator, int updatesBefore) =>
        Rule(Request(announced.Round.Round, announced.LocalSteps, announced.LocalEpochs, coordinator), updatesBefore);

    /// <summary>Why the policy permits the job nothing at all; empty: some round may be permitted.</summary>
    public string Unfit(string coordinator)
    {
        var ruling = Rule(Request(1, _settings.LocalSteps, _settings.LocalEpochs, coordinator), updatesBefore: 0);
        return ruling.ForJob ? ruling.Refusal : "";
    }

    private RoundRuling Rule(RoundRequest request, int updatesBefore)
    {
        if (policies.Current is not { } policy)
            return new RoundRuling(null, [$"the site's policy is not sound, so it permits nothing: {policies.Problem}"], ForJob: false);
        var decision = PolicyJudge.Judge(policy, request, privacy.Spent(updatesBefore), time.GetUtcNow());
        return new RoundRuling(request, [.. decision.Broken.Select(rule => rule.ToString())], decision.Broken.Any(rule => rule.Rule != OpeningHours));
    }

    private RoundRequest Request(int round, int localSteps, int localEpochs, string coordinator) => new()
    {
        Job = assignment.Job.Name,
        Coordinator = coordinator,
        Round = round,
        Rounds = _settings.Rounds,
        DataSets = [.. plan.Data.Select(data => data.Name)],
        Strategy = _settings.Strategy.Name,
        Update = plan.Content,
        LocalSteps = localSteps > 0 ? localSteps : null,
        LocalEpochs = localEpochs > 0 ? localEpochs : null,
        ClippingNorm = _settings.DifferentialPrivacy?.ClippingNorm,
        Privacy = _settings.DifferentialPrivacy is { } dp
            ? new PrivacyRequest(privacy.PlannedEpsilon(), dp.Delta, dp.NoiseMultiplier, dp.Model == PrivacyModel.Local ? NoiseSource.Site : NoiseSource.Coordinator)
            : null,
        // Metrics are not asked for: a loss that may not leave is withheld when it would.
        Messages = [SiteMessages.Join, SiteMessages.Heartbeat, SiteMessages.Update],
    };
}
