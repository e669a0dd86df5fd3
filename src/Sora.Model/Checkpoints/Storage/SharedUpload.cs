namespace Sora.Model.Checkpoints.Storage;

/// <summary>
/// A checkpoint that the members of a generation upload together, each its share. They meet in the bucket only; the first one also
/// writes all of it into its own output folder, which is what that folder keeps.
/// </summary>
internal static class SharedUpload
{
    /// <summary>Writes and uploads a share, and completes the checkpoint if it was the last one missing.</summary>
    /// <exception cref="CheckpointWriteException">It cannot be written, and the checkpoint is given up.</exception>
    public static ShareOutcome Save(CheckpointContents contents, CheckpointBucket bucket, Disk disk) =>
        contents.Group.KeepsWhole ? SaveWhole(contents, bucket, disk) : SaveOwn(contents, bucket, disk);

    private static ShareOutcome SaveWhole(CheckpointContents contents, CheckpointBucket bucket, Disk disk)
    {
        var (share, group) = (contents.Share, contents.Group);
        var (local, abandoned) = CheckpointFolder.SaveAlone(contents with { Group = SaveGroup.Alone, Share = CheckpointShare.Of(share.Layout, SaveGroup.Alone) }, saveTotalLimit: 1, disk);
        var others = CheckpointShare.Deal(share.Layout, group.Count).Where(other => other.Index != share.Index).SelectMany(other => other.Weights.Concat(other.Optimizer)).Select(file => file.Name).ToHashSet(StringComparer.Ordinal);
        var whole = CheckpointManifest.Read(local!.Path);
        var outcome = bucket.UploadShare(local.Path, whole with { Files = [.. whole.Files.Where(file => !others.Contains(file.Name))] }, group, contents.Job.SaveTotalLimit);
        return outcome with { Abandoned = [.. abandoned, .. outcome.Abandoned] };
    }

    private static ShareOutcome SaveOwn(CheckpointContents contents, CheckpointBucket bucket, Disk disk)
    {
        var parent = CheckpointCatalog.FolderOf(contents.OutputDir);
        var folder = PartialFolder.NameForUpload(Path.Combine(parent, CheckpointFolder.NameOf(contents.Step)));
        try
        {
            Publication.CreateDurably(parent, disk);
            disk.CreateFolder(folder);
            PartialFolder.RemoveLeftovers(parent, Directory.GetLastWriteTimeUtc(folder), disk);
            return bucket.UploadShare(folder, CheckpointFiles.Write(contents, contents.Share, folder, disk), contents.Group, contents.Job.SaveTotalLimit);
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            throw new CheckpointWriteException(
                $"Cannot write a part of the checkpoint of step {contents.Step} into {parent}, to upload it: {exception.Message} " +
                "Free some space, or choose a folder that can be written.", exception);
        }
        finally
        {
            PartialFolder.TryRemove(folder, disk);
        }
    }
}
