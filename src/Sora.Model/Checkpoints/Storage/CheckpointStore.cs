using Sora.Protocol.Jobs;

namespace Sora.Model.Checkpoints.Storage;

/// <summary>
/// Where the checkpoints of a run are: in its output folder, and with <c>save_to</c> also in a bucket. Then the output folder
/// keeps the newest one only, and a machine that has none fetches it.
/// </summary>
public static class CheckpointStore
{
    /// <summary>
    /// Writes a checkpoint to where the job wants it and removes the oldest ones above the limit: all of it, or this worker's share of one
    /// that several write together; whoever is last completes it.
    /// </summary>
    /// <exception cref="CheckpointWriteException">It cannot be written, and the checkpoint is given up.</exception>
    public static ShareOutcome Save(CheckpointContents contents)
    {
        var (job, isShared) = (contents.Job, contents.Group.Count > 1);
        if (job.SaveTo.Length == 0)
            return isShared ? SharedSave.Save(contents, job.SaveTotalLimit, Disk.Real) : CheckpointFolder.SaveAlone(contents, job.SaveTotalLimit, Disk.Real);
        var local = isShared ? null : CheckpointFolder.SaveAlone(contents, saveTotalLimit: 1, Disk.Real);
        using var bucket = OpenForWriting(job.SaveTo);
        if (local is null)
            return SharedUpload.Save(contents, bucket, Disk.Real);
        var uploaded = bucket.Upload(local.Saved!.Path, job.SaveTotalLimit);
        return uploaded with { Abandoned = [.. local.Abandoned, .. uploaded.Abandoned] };
    }

    /// <summary>Opens a checkpoint; one that lies in a bucket is fetched into the output folder first.</summary>
    /// <param name="path">A folder, or <c>s3://bucket/prefix/step-NNNNNNNN</c>.</param>
    /// <param name="outputDir">The run's output folder.</param>
    /// <exception cref="SoraException">It is no whole checkpoint.</exception>
    public static CheckpointReader Open(string path, string outputDir)
    {
        if (!S3Location.Is(path))
            return CheckpointFolder.Open(path);
        var (run, step) = S3Location.Parse(path).AsCheckpoint()
            ?? throw new SoraException($"{path} is no checkpoint: its last part is not step-NNNNNNNN.", ExitCode.Usage);
        using var bucket = CheckpointBucket.Open(run);
        return CheckpointFolder.Open(bucket.Fetch(step, outputDir));
    }

    /// <summary>Decides where a run begins, as <see cref="CheckpointCatalog.Resolve"/> does, looking into the bucket too.</summary>
    /// <param name="resume"><c>auto</c>, <c>true</c>, <c>false</c>, or a checkpoint.</param>
    /// <param name="outputDir">The run's output folder.</param>
    /// <param name="saveTo">The job's <c>save_to</c>.</param>
    /// <exception cref="SoraException">There is no such checkpoint, none is sound, or a fresh start would mix with an earlier run.</exception>
    public static ResumePoint Resolve(string resume, string outputDir, string saveTo)
    {
        if (S3Location.Is(resume))
            return new ResumePoint(Open(resume, outputDir) is not null ? resume : null, []);
        if (saveTo.Length == 0 || resume is not ("auto" or "true" or "false"))
            return CheckpointCatalog.Resolve(resume, outputDir);
        using var bucket = CheckpointBucket.Open(S3Location.Parse(saveTo));
        return Resolve(resume, outputDir, bucket);
    }

    /// <summary>Refuses what <see cref="Resolve(string, string, string)"/> would refuse, as far as that can be told without fetching a checkpoint.</summary>
    /// <param name="resume">As there.</param>
    /// <param name="outputDir">As there.</param>
    /// <param name="saveTo">As there.</param>
    /// <exception cref="SoraException">There is no such checkpoint, none is whole, or a fresh start would mix with an earlier run.</exception>
    public static void CheckResume(string resume, string outputDir, string saveTo)
    {
        if (S3Location.Is(resume) || saveTo.Length == 0 || resume is not ("auto" or "true" or "false"))
        {
            if (!S3Location.Is(resume))
                _ = CheckpointCatalog.Resolve(resume, outputDir);
            return;
        }
        using var bucket = CheckpointBucket.Open(S3Location.Parse(saveTo));
        CheckResume(resume, outputDir, bucket);
    }

    /// <summary>Removes what an earlier run left in the bucket.</summary>
    public static void RemoveAll(string saveTo)
    {
        if (saveTo.Length == 0)
            return;
        using var bucket = CheckpointBucket.Open(S3Location.Parse(saveTo));
        bucket.RemoveAll();
    }

    // Not every worker may have been told how to reach it, and that ends no run.
    private static CheckpointBucket OpenForWriting(string saveTo)
    {
        try
        {
            return CheckpointBucket.Open(S3Location.Parse(saveTo));
        }
        catch (SoraException exception) when (exception.ExitCode == ExitCode.Unreachable)
        {
            throw new CheckpointWriteException(exception.Message, exception);
        }
    }

    internal static ResumePoint Resolve(string resume, string outputDir, CheckpointBucket bucket)
    {
        var remote = ListFor(resume, bucket);
        // The last upload may have failed: what lies here is newer then.
        return remote.Count == 0
            ? CheckpointCatalog.Resolve(resume, outputDir)
            : CheckpointCatalog.NewestSound(WithLocal(remote, outputDir), FindProblems, bucket.Location.ToString());

        IReadOnlyList<string> FindProblems(CheckpointSummary checkpoint)
        {
            if (checkpoint.Problem is { } problem)
                return [problem];
            if (!S3Location.Is(checkpoint.Path))
                return CheckpointFolder.Verify(checkpoint.Path);
            try
            {
                bucket.Fetch(checkpoint.Step, outputDir);
                return [];
            }
            catch (SoraException exception) when (exception.ExitCode == ExitCode.InvalidInput)
            {
                return [exception.Message];
            }
        }
    }

    internal static void CheckResume(string resume, string outputDir, CheckpointBucket bucket)
    {
        var remote = ListFor(resume, bucket);
        if (remote.Count == 0)
            _ = CheckpointCatalog.Resolve(resume, outputDir);
        else
            _ = CheckpointCatalog.NewestSound(WithLocal(remote, outputDir), checkpoint => checkpoint.Problem is { } problem ? [problem] : [], bucket.Location.ToString());
    }

    private static IReadOnlyList<CheckpointSummary> ListFor(string resume, CheckpointBucket bucket)
    {
        var remote = bucket.List();
        return resume == "false" && remote.Count > 0
            ? throw new SoraException($"{bucket.Location} holds checkpoints up to step {remote[^1].Step}, which a fresh start would mix with its own. Choose another save_to, or use --resume auto to go on.", ExitCode.Usage)
            : remote;
    }

    // Of two of the same step the bucket's comes first: every worker can reach it.
    private static IEnumerable<CheckpointSummary> WithLocal(IReadOnlyList<CheckpointSummary> remote, string outputDir) =>
        CheckpointCatalog.List(outputDir).Concat(remote).OrderBy(checkpoint => checkpoint.Step);
}
