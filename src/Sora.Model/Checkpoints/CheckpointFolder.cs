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

    /// <summary>Writes a checkpoint and removes the oldest ones above the limit. Saving the same step again is harmless.</summary>
    /// <param name="contents">What to write; read before this returns, never kept.</param>
    /// <param name="saveTotalLimit">Checkpoints to keep; 0: all.</param>
    /// <exception cref="SoraException">The disk is full or the folder cannot be written; earlier checkpoints are untouched and nothing half-written stays.</exception>
    public static CheckpointInfo Save(CheckpointContents contents, int saveTotalLimit)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(saveTotalLimit);
        ArgumentOutOfRangeException.ThrowIfNegative(contents.Step);
        var parent = CheckpointCatalog.FolderOf(contents.OutputDir);
        var final = Path.Combine(parent, NameOf(contents.Step));
        var temporary = PartialFolder.NameFor(final);
        try
        {
            CreateDurably(parent);
            Directory.CreateDirectory(temporary);
            PartialFolder.RemoveLeftovers(parent, Directory.GetLastWriteTimeUtc(temporary));
            var manifest = Write(contents, temporary);
            DurableFiles.FlushFolder(temporary);
            Publish(temporary, final);
            CheckpointCatalog.Prune(contents.OutputDir, saveTotalLimit, contents.Step);
            return new CheckpointInfo(final, contents.Step, manifest.WeightsSha256);
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            throw new SoraException(
                $"Cannot write the checkpoint of step {contents.Step} into {parent}: {exception.Message} " +
                "Free some space or choose a folder that can be written, then run again to resume from the checkpoint before.", ExitCode.Failure, exception);
        }
        finally
        {
            PartialFolder.TryRemove(temporary);
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
                else if (DurableFiles.Digest(full).Sha256 != file.Sha256)
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

    private static CheckpointManifest Write(CheckpointContents contents, string folder)
    {
        var description = ModelDescription.Of(contents.Job, contents.Tokenizer.VocabSize, contents.Tokenizer.EndOfText);
        contents.Tokenizer.Save(folder);
        var digests = Directory.GetFiles(folder).ToDictionary(path => Path.GetFileName(path), DurableFiles.Flush, StringComparer.Ordinal);
        digests[HubConfig.FileName] = DurableFiles.Write(Path.Combine(folder, HubConfig.FileName), HubConfig.ToUtf8(description));
        digests[JobFileName] = DurableFiles.Write(Path.Combine(folder, JobFileName), Encoding.UTF8.GetBytes(JobJson.Write(contents.Job, indented: true)));
        string weightsHash;
        using (var exported = HubWeights.Export(description, contents.Weights))
        {
            var raw = exported.Tensors.Select(TensorFiles.ToRaw).ToList();
            weightsHash = WeightsHash.Of(raw);
            digests[HubWeights.FileName] = SafetensorsWriter.Write(Path.Combine(folder, HubWeights.FileName), raw);
        }
        using (var state = ToHost(contents.Optimizer))
            digests[OptimizerFileName] = SafetensorsWriter.Write(Path.Combine(folder, OptimizerFileName), [.. state.Tensors.Select(TensorFiles.ToRaw)]);

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
        DurableFiles.Write(Path.Combine(folder, CheckpointManifest.FileName), manifest.ToUtf8());
        return manifest;
    }

    private static OwnedTensors ToHost(IReadOnlyList<NamedTensor> tensors)
    {
        using var scope = torch.NewDisposeScope();
        return new OwnedTensors([.. tensors.Select(tensor => new NamedTensor(tensor.Name, tensor.Value.detach().cpu().contiguous().DetachFromDisposeScope()))]);
    }

    private static void Publish(string temporary, string final)
    {
        var parent = Path.GetDirectoryName(final)!;
        if (!Directory.Exists(final))
        {
            Directory.Move(temporary, final);
            DurableFiles.FlushFolder(parent);
            return;
        }
        // The same step again: after a resume it is what lies there already, unless that was damaged or of another job.
        if (Verify(final).Count == 0 && CheckpointManifest.Read(final).Checksum == CheckpointManifest.Read(temporary).Checksum)
            return;
        var replaced = PartialFolder.NameFor(final);
        Directory.Move(final, replaced);
        Directory.Move(temporary, final);
        DurableFiles.FlushFolder(parent);
        PartialFolder.TryRemove(replaced);
    }

    private static void CreateDurably(string folder)
    {
        if (Directory.Exists(folder))
            return;
        if (Path.GetDirectoryName(folder) is { } parent)
        {
            CreateDurably(parent);
            Directory.CreateDirectory(folder);
            DurableFiles.FlushFolder(parent);
        }
    }
}
