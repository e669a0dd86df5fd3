namespace Sora.Protocol.Jobs;

/// <summary>
/// Makes the paths of a job absolute, so that it means the same files wherever it is read: workers get it, and checkpoints keep it.
/// </summary>
internal static class JobPaths
{
    // Not a path but a name; a folder of this name is ./dotnet-docs.
    private const string DotnetDocs = "dotnet-docs";

    /// <summary>A job with absolute paths.</summary>
    /// <param name="job">The job.</param>
    /// <param name="folderOf">The folder that a key's paths are relative to.</param>
    public static TrainingJob MakeAbsolute(TrainingJob job, Func<JobKey, string> folderOf)
    {
        string Absolute(JobKey key, string path) => IsPath(path) ? Path.GetFullPath(path, folderOf(key)) : path;
        return JobSchema.Build(JobSchema.Leaves.ToDictionary(key => key.Path, key => key.ValueIn(job) switch
        {
            string path when key.IsPath => Absolute(key, path),
            IReadOnlyList<string> paths when key.IsPath => paths.Select(path => Absolute(key, path)).ToArray(),
            var value => value,
        }));
    }

    // With a null character it is no path anywhere; whoever opens it says so.
    private static bool IsPath(string text) => text.Length > 0 && !(text == DotnetDocs || text.StartsWith(DotnetDocs + ":", StringComparison.Ordinal)) && !text.Contains("://", StringComparison.Ordinal) && !text.Contains('\0');
}
