namespace Sora.Protocol.Generations;

/// <summary>The canary every worker of a run is held to.</summary>
/// <param name="Sha256">The hash.</param>
/// <param name="Fingerprint">The numerics that produced it.</param>
/// <param name="Origin">Where it comes from, as messages to people say it.</param>
public sealed record CanaryReference(string Sha256, string Fingerprint, string Origin);

/// <summary>
/// Chooses the reference. A run continued from a checkpoint is held to the canary recorded there: its first half was
/// computed with those numerics. Otherwise the workers vote once all of them have delivered: the hash most of them computed
/// wins, and of equally frequent ones the hash of the worker whose id comes first. Arrival order therefore never matters,
/// and one odd machine among many is the one that is refused even if it was the quickest.
/// </summary>
internal static class CanaryRule
{
    public static CanaryReference Choose(RunSpec spec, IReadOnlyCollection<WorkerState> workersById)
    {
        if (spec.ExpectedCanary.Length > 0)
        {
            var fingerprint = spec.ExpectedFingerprint.Length > 0 ? spec.ExpectedFingerprint : "not recorded";
            return new CanaryReference(spec.ExpectedCanary, fingerprint, $"recorded in the checkpoint {spec.ResumeFrom}");
        }
        // Both GroupBy and MaxBy keep the first of equals, and the workers come in id order.
        var votes = workersById.GroupBy(worker => worker.Canary).MaxBy(group => group.Count())!;
        var voter = votes.First();
        return new CanaryReference(voter.Canary, voter.Fingerprint, $"computed by {votes.Count()} of {workersById.Count} workers, first {voter.Id}");
    }

    public static string Difference(WorkerState worker, CanaryReference reference) =>
        $"{worker} computes other numbers than the run's: its canary is {Short(worker.Canary)} with numerics '{worker.Fingerprint}', "
        + $"the reference is {Short(reference.Sha256)} with numerics '{reference.Fingerprint}' ({reference.Origin}).";

    public const string HowToMendRefusal =
        "Give every worker the same libtorch, device class and threads_per_worker, or set 'numerics: warn' to accept a result that cannot be reproduced bit for bit.";

    private static string Short(string sha256) => sha256.Length > 16 ? sha256[..16] : sha256;
}
