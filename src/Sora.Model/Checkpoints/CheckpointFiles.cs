using System.Text;
using Sora.Model.Checkpoints.Adapters;
using Sora.Model.Training;
using Sora.Protocol.Jobs;
using TorchSharp;

namespace Sora.Model.Checkpoints;

/// <summary>Writes the files of a checkpoint, all or one writer's share of them.</summary>
internal static class CheckpointFiles
{
    /// <summary>Writes and flushes a share.</summary>
    /// <param name="contents">The state; of its tensors only those the share asks for.</param>
    /// <param name="share">Which files.</param>
    /// <param name="folder">Where to; it holds no other file, or those of other writers.</param>
    /// <param name="disk">What it lies on.</param>
    /// <returns>The checkpoint's manifest as far as this writer knows it: its own files, and the weights' hash if it tells that.</returns>
    public static CheckpointManifest Write(CheckpointContents contents, CheckpointShare share, string folder, Disk disk)
    {
        var digests = new SortedDictionary<string, FileDigest>(StringComparer.Ordinal);
        if (share.Index == 0)
            WriteSmallFiles(contents, share.Layout, folder, disk, digests);
        var weightsHash = WriteWeights(contents, share, folder, disk, digests);
        var ours = share.OptimizerNames.ToHashSet(StringComparer.Ordinal);
        using (var state = ToHost(contents.Optimizer.Where(tensor => ours.Contains(tensor.Name))))
        {
            var raw = state.Tensors.Select(TensorFiles.ToRaw).ToDictionary(tensor => tensor.Name, StringComparer.Ordinal);
            foreach (var file in share.Optimizer)
                digests[file.Name] = Write(file, raw, folder, disk);
        }
        return new CheckpointManifest
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
            Files = [.. digests.Select(pair => new CheckpointFile(pair.Key, pair.Value.Bytes, pair.Value.Sha256))],
        };
    }

    private static void WriteSmallFiles(CheckpointContents contents, CheckpointLayout layout, string folder, Disk disk, SortedDictionary<string, FileDigest> digests)
    {
        // Tokenizers choose their names themselves; what else is here by now are other writers' tensors.
        contents.Tokenizer.Save(folder);
        var tensors = layout.Weights.Concat(layout.Optimizer).Select(file => file.Name).ToHashSet(StringComparer.Ordinal);
        foreach (var file in Directory.GetFiles(folder).Where(file => !tensors.Contains(Path.GetFileName(file))))
            digests[Path.GetFileName(file)] = disk.Flush(file);
        if (contents.Job.Lora.IsOn)
            Put(AdapterConfig.FileName, AdapterConfig.Of(contents.Job, layout.Weights.SelectMany(file => file.Tensors).Select(tensor => tensor.Name)).ToUtf8(contents.Description));
        else
            Put(HubConfig.FileName, HubConfig.ToUtf8(contents.Description));
        Put(CheckpointFolder.JobFileName, Encoding.UTF8.GetBytes(JobJson.Write(contents.Job, indented: true)));
        foreach (var (name, utf8) in layout.Indexes())
            Put(name, utf8);

        void Put(string name, byte[] utf8) => digests[name] = disk.Write(Path.Combine(folder, name), utf8);
    }

    private static string WriteWeights(CheckpointContents contents, CheckpointShare share, string folder, Disk disk, SortedDictionary<string, FileDigest> digests)
    {
        using var exported = HubWeights.Export(share.ExportedWeights, contents.Weights);
        var raw = exported.Tensors.Select(TensorFiles.ToRaw).ToDictionary(tensor => tensor.Name, StringComparer.Ordinal);
        foreach (var file in share.Weights)
            digests[file.Name] = Write(file, raw, folder, disk);
        return share.HashesWeights ? WeightsHash.Of(raw.Values) : "";
    }

    private static FileDigest Write(TensorFile file, Dictionary<string, RawTensor> raw, string folder, Disk disk) => SafetensorsWriter.Write(
        Path.Combine(folder, file.Name), [.. file.Tensors.Select(tensor => raw[tensor.Name])], SafetensorsWriter.PyTorchMetadata, disk);

    private static OwnedTensors ToHost(IEnumerable<NamedTensor> tensors)
    {
        using var scope = torch.NewDisposeScope();
        return new OwnedTensors([.. tensors.Select(tensor => new NamedTensor(tensor.Name, tensor.Value.detach().cpu().contiguous().DetachFromDisposeScope()))]);
    }
}
