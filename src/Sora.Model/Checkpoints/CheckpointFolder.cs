using System.Globalization;
using System.Text;
using Sora.Model.Training;
using Sora.Protocol.Jobs;
using TorchSharp;

namespace Sora.Model.Checkpoints;

/// <summary>
/// One checkpoint: a folder that is either whole or not there. It is written under another name, flushed to disk file by
/// file, and renamed last.
/// </summary>
public static class CheckpointFolder
{
    /// <summary>File of the optimizer's state.</summary>
    public const string OptimizerFileName = "optimizer.safetensors";

    /// <summary>File of the job.</summary>
    public const string JobFileName = "job.json";

    // Each failure but the last means that another process did something at that very moment.
    private const int PublishAttempts = 10;

    /// <summary>
    /// Writes a checkpoint and removes the oldest ones above the limit. Saving the same step again is harmless, also when
    /// several processes do so at once: who comes second finds the first one's and keeps it.
    /// </summary>
    /// <param name="contents">What to write; read before this returns, never kept.</param>
    /// <param name="saveTotalLimit">Checkpoints to keep; 0: all.</param>
    /// <exception cref="CheckpointWriteException">The disk is full or the folder cannot be written; earlier checkpoints are untouched and nothing half-written stays.</exception>
    public static CheckpointInfo Save(CheckpointContents contents, int saveTotalLimit) => Save(contents, saveTotalLimit, Disk.Real);

    /// <summary>As <see cref="Save(CheckpointContents, int)"/>, on a certain disk.</summary>
    internal static CheckpointInfo Save(CheckpointContents contents, int saveTotalLimit, Disk disk)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(saveTotalLimit);
        ArgumentOutOfRangeException.ThrowIfNegative(contents.Step);
        var parent = CheckpointCatalog.FolderOf(contents.OutputDir);
        var final = Path.Combine(parent, NameOf(contents.Step));
        var temporary = PartialFolder.NameFor(final);
        try
        {
            CreateDurably(parent, disk);
            disk.CreateFolder(temporary);
            PartialFolder.RemoveLeftovers(parent, Directory.GetLastWriteTimeUtc(temporary), disk);
            var manifest = Write(contents, temporary, disk);
            disk.FlushFolder(temporary);
            Publish(temporary, final, disk);
            CheckpointCatalog.Prune(contents.OutputDir, saveTotalLimit, contents.Step, disk);
            return new CheckpointInfo(final, contents.Step, manifest.WeightsSha256);
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            throw new CheckpointWriteException(
                $"Cannot write the checkpoint of step {contents.Step} into {parent}: {exception.Message} " +
                "Free some space, or choose a folder that can be written.", exception);
        }
        finally
        {
            PartialFolder.TryRemove(temporary, disk);
        }
    }

    /// <summary>Opens a checkpoint folder and checks that its files are there in full; <see cref="Verify"/> also checks every byte.</summary>
    /// <exception cref="SoraException">It is no whole checkpoint.</exception>
    public static CheckpointReader Open(string path)
    {
        var folder = Path.GetFullPath(path);
        var manifest = CheckpointManifest.Read(folder);
        return FindMissing(folder, manifest) is { } problem
            ? throw new SoraException($"Checkpoint {folder} is damaged: {problem}", ExitCode.InvalidInput)
            : new CheckpointReader(folder, manifest);
    }

    /// <summary>Recomputes every hash of a checkpoint.</summary>
    /// <returns>What is wrong with it, each naming a file; empty when it is sound.</returns>
    public static IReadOnlyList<string> Verify(string path)
    {
        var folder = Path.GetFullPath(path);
        var problems = new List<string>();
        try
        {
            var manifest = CheckpointManifest.Read(folder);
            foreach (var file in manifest.Files)
            {
                var full = Path.Combine(folder, file.Name);
                if (Shortage(full, file) is { } shortage)
                    problems.Add(shortage);
                else if (Disk.Digest(full).Sha256 != file.Sha256)
                    problems.Add($"{full} is damaged: its SHA-256 is not the one in the manifest.");
            }
            if (problems.Count > 0)
                return problems;
            using var weights = SafetensorsFile.Open(Path.Combine(folder, HubWeights.FileName));
            if (WeightsHash.Of(weights) is var hash && hash != manifest.WeightsSha256)
                problems.Add($"{weights.Path} holds other weights ({hash}) than the manifest says ({manifest.WeightsSha256}).");
        }
        catch (SoraException exception)
        {
            problems.Add(exception.Message);
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            problems.Add($"{folder} cannot be read: {exception.Message}");
        }
        return problems;
    }

    /// <summary>Takes up a checkpoint that comes from elsewhere; one that lies there already and is the same is used.</summary>
    /// <param name="outputDir">The run's output folder.</param>
    /// <param name="manifest">What is to come.</param>
    /// <param name="fill">Puts its files into a folder.</param>
    /// <returns>Its folder; every byte has been verified.</returns>
    internal static string Receive(string outputDir, CheckpointManifest manifest, Action<string> fill)
    {
        var parent = CheckpointCatalog.FolderOf(outputDir);
        var final = Path.Combine(parent, NameOf(manifest.Step));
        if (Directory.Exists(final) && Verify(final).Count == 0 && CheckpointManifest.Read(final).Checksum == manifest.Checksum)
            return final;
        var temporary = PartialFolder.NameFor(final);
        try
        {
            CreateDurably(parent, Disk.Real);
            Directory.CreateDirectory(temporary);
            PartialFolder.RemoveLeftovers(parent, Directory.GetLastWriteTimeUtc(temporary), Disk.Real);
            fill(temporary);
            foreach (var file in manifest.Files)
                if (Disk.Real.Flush(Path.Combine(temporary, file.Name)).Sha256 != file.Sha256)
                    throw new SoraException($"{file.Name} is damaged: its SHA-256 is not the one in the manifest.", ExitCode.InvalidInput);
            Disk.Real.Write(Path.Combine(temporary, CheckpointManifest.FileName), manifest.ToUtf8());
            Disk.Real.FlushFolder(temporary);
            Publish(temporary, final, Disk.Real);
            return final;
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            throw new SoraException($"Cannot put the checkpoint of step {manifest.Step} into {parent}: {exception.Message} Free some space or choose a folder that can be written.", ExitCode.Failure, exception);
        }
        finally
        {
            PartialFolder.TryRemove(temporary, Disk.Real);
        }
    }

    /// <summary>The folder's name for a step.</summary>
    internal static string NameOf(long step) => string.Create(CultureInfo.InvariantCulture, $"step-{step:D8}");

    /// <summary>The first file that is absent or of another size, in words; null when there is none.</summary>
    internal static string? FindMissing(string folder, CheckpointManifest manifest) =>
        manifest.Files.Select(file => Shortage(Path.Combine(folder, file.Name), file)).FirstOrDefault(problem => problem is not null);

    private static string? Shortage(string path, CheckpointFile file)
    {
        var info = new FileInfo(path);
        return !info.Exists ? $"{path} is missing."
            : info.Length != file.Bytes ? $"{path} has {info.Length} bytes, not {file.Bytes}."
            : null;
    }

    private static CheckpointManifest Write(CheckpointContents contents, string folder, Disk disk)
    {
        var description = ModelDescription.Of(contents.Job, contents.Tokenizer.VocabSize, contents.Tokenizer.EndOfText);
        contents.Tokenizer.Save(folder);
        var digests = Directory.GetFiles(folder).ToDictionary(path => Path.GetFileName(path), disk.Flush, StringComparer.Ordinal);
        digests[HubConfig.FileName] = disk.Write(Path.Combine(folder, HubConfig.FileName), HubConfig.ToUtf8(description));
        digests[JobFileName] = disk.Write(Path.Combine(folder, JobFileName), Encoding.UTF8.GetBytes(JobJson.Write(contents.Job, indented: true)));
        string weightsHash;
        using (var exported = HubWeights.Export(description, contents.Weights))
        {
            var raw = exported.Tensors.Select(TensorFiles.ToRaw).ToList();
            weightsHash = WeightsHash.Of(raw);
            digests[HubWeights.FileName] = SafetensorsWriter.Write(Path.Combine(folder, HubWeights.FileName), raw, SafetensorsWriter.PyTorchMetadata, disk);
        }
        using (var state = ToHost(contents.Optimizer))
            digests[OptimizerFileName] = SafetensorsWriter.Write(Path.Combine(folder, OptimizerFileName), [.. state.Tensors.Select(TensorFiles.ToRaw)], SafetensorsWriter.PyTorchMetadata, disk);

        var manifest = new CheckpointManifest
        {
            FormatVersion = CheckpointManifest.CurrentFormatVersion,
            Step = contents.Step,
            TokensSeen = contents.TokensSeen,
            JobSha256 = JobHash.Of(contents.Job),
            CorpusSha256 = contents.CorpusSha256,
            VocabSize = contents.Tokenizer.VocabSize,
            Canary = contents.Canary,
            Numerics = contents.Numerics,
            WeightsSha256 = weightsHash,
            Files = [.. digests.OrderBy(pair => pair.Key, StringComparer.Ordinal).Select(pair => new CheckpointFile(pair.Key, pair.Value.Bytes, pair.Value.Sha256))],
        };
        disk.Write(Path.Combine(folder, CheckpointManifest.FileName), manifest.ToUtf8());
        return manifest;
    }

    private static OwnedTensors ToHost(IReadOnlyList<NamedTensor> tensors)
    {
        using var scope = torch.NewDisposeScope();
        return new OwnedTensors([.. tensors.Select(tensor => new NamedTensor(tensor.Name, tensor.Value.detach().cpu().contiguous().DetachFromDisposeScope()))]);
    }

    /// <summary>
    /// The rename is what makes a checkpoint. Another process may be about to do the same: whatever it did a moment ago is
    /// looked at again, and at no moment is there less than one whole checkpoint under the name if there was one.
    /// </summary>
    private static void Publish(string temporary, string final, Disk disk)
    {
        var parent = Path.GetDirectoryName(final)!;
        for (var attempt = 1; !TryPublish(temporary, final, disk, last: attempt == PublishAttempts); attempt++)
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
        Verify(final).Count == 0 && CheckpointManifest.Read(final).Checksum == CheckpointManifest.Read(temporary).Checksum;

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

    private static void CreateDurably(string folder, Disk disk)
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
