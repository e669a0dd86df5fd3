using System.Security.Cryptography;

namespace Sora.Protocol.Jobs;

/// <summary>The identity of what a job computes.</summary>
public static class JobHash
{
    /// <summary>
    /// SHA-256, lower-case hex, over the keys that decide the weights. Keys of the corpus are left out, because the corpus
    /// has a hash of its own and may lie elsewhere on another day.
    /// </summary>
    public static string Of(TrainingJob job) =>
        Convert.ToHexStringLower(SHA256.HashData(JobJson.Bytes(job, key => key.Effect == JobEffect.Result)));
}

/// <summary>A key two jobs disagree on.</summary>
/// <param name="Key">The key.</param>
/// <param name="Before">Its value in the first job, as written in a file.</param>
/// <param name="After">Its value in the second.</param>
public sealed record JobDifference(JobKey Key, string Before, string After)
{
    /// <inheritdoc/>
    public override string ToString() => $"{Key.Path}: {Before} -> {After}";

    /// <summary>All keys two jobs disagree on, in the order of <see cref="JobSchema"/>.</summary>
    public static IReadOnlyList<JobDifference> Between(TrainingJob before, TrainingJob after) =>
        JobSchema.Leaves
            .Select(key => new JobDifference(key, JobKey.Spell(key.ValueIn(before)), JobKey.Spell(key.ValueIn(after))))
            .Where(difference => difference.Before != difference.After)
            .ToArray();
}
