using Sora.Protocol.Jobs;

namespace Sora.Model.Checkpoints;

/// <summary>How a folder that has been written under another name becomes a checkpoint.</summary>
internal static class Publication
{
    // Each failure but the last means that another process did something at that very moment.
    private const int Attempts = 10;

    /// <summary>
    /// The rename is what makes a checkpoint. Another process may be about to do the same: whatever it did a moment ago is
    /// looked at again, and at no moment is there less than one whole checkpoint under the name if there was one.
    /// </summary>
    public static void Publish(string temporary, string final, Disk disk)
    {
        var parent = Path.GetDirectoryName(final)!;
        for (var attempt = 1; !TryPublish(temporary, final, disk, last: attempt == Attempts); attempt++)
        {
        }
        disk.FlushFolder(parent);
    }

    private static bool TryPublish(string temporary, string final, Disk disk, bool last)
    {
        try
        {
            if (!Directory.Exists(final))
                disk.Move(temporary, final);
            // The same step again: it is what lies there already, unless that was damaged or of another job.
            else if (!IsSame(final, temporary) && !disk.TryExchange(temporary, final))
                Replace(temporary, final, disk);
            return true;
        }
        catch (Exception exception) when (!last && exception is IOException or SoraException)
        {
            return false;
        }
    }

    private static bool IsSame(string final, string temporary) =>
        CheckpointFolder.Verify(final).Count == 0 && CheckpointManifest.Read(final).Checksum == CheckpointManifest.Read(temporary).Checksum;

    private static void Replace(string temporary, string final, Disk disk)
    {
        var replaced = PartialFolder.NameFor(final);
        disk.Move(final, replaced);
        try
        {
            disk.Move(temporary, final);
        }
        catch when (!Directory.Exists(final))
        {
            disk.Move(replaced, final);
            throw;
        }
        finally
        {
            PartialFolder.TryRemove(replaced, disk);
        }
    }

    /// <summary>Makes a folder, and those it lies in, that survive a loss of power.</summary>
    public static void CreateDurably(string folder, Disk disk)
    {
        if (Directory.Exists(folder))
            return;
        if (Path.GetDirectoryName(folder) is { } parent)
        {
            CreateDurably(parent, disk);
            disk.CreateFolder(folder);
            disk.FlushFolder(parent);
        }
    }
}
