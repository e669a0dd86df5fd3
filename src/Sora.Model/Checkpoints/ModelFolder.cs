using Sora.Model.Checkpoints.Adapters;
using Sora.Protocol.Jobs;

namespace Sora.Model.Checkpoints;

/// <summary>Where a network lies.</summary>
internal static class ModelFolder
{
    /// <summary>The folder that holds a network, or adapters of one: the given one, or the newest sound checkpoint of a run's output folder.</summary>
    /// <exception cref="SoraException">There is none.</exception>
    public static (string Folder, IReadOnlyList<string> Warnings) Find(string path)
    {
        var folder = Path.GetFullPath(path);
        if (File.Exists(Path.Combine(folder, HubConfig.FileName)) || AdapterFiles.AreIn(folder))
            return (folder, []);
        if (CheckpointCatalog.List(folder).Count == 0)
            throw new SoraException($"No model at {folder}: it is neither a checkpoint (it has no {HubConfig.FileName}) nor the output folder of a run that has one.", ExitCode.InvalidInput);
        var newest = CheckpointCatalog.NewestSound(folder);
        return (newest.Path!, newest.Warnings);
    }

    /// <summary>What a checkpoint says of itself, its files all there; null where the folder is somebody else's.</summary>
    /// <exception cref="SoraException">A file is missing, or shortened.</exception>
    public static CheckpointManifest? ManifestOf(string folder) =>
        File.Exists(Path.Combine(folder, CheckpointManifest.FileName)) ? CheckpointFolder.Open(folder).Manifest : null;

    /// <summary>Reads every byte of a folder's weights, if that can tell anything.</summary>
    /// <param name="folder">The folder.</param>
    /// <param name="files">Its weights.</param>
    /// <param name="expected">The identity they must have; empty: whatever a manifest says.</param>
    /// <exception cref="SoraException">They are damaged, or others.</exception>
    public static void CheckWeights(string folder, WeightFiles files, string expected = "")
    {
        if (expected.Length > 0 || ManifestOf(folder) is not null)
            WeightsSha256(folder, files, expected);
    }

    /// <summary>Reads the identity of a folder's weights: every byte of them.</summary>
    /// <param name="folder">The folder.</param>
    /// <param name="files">Its weights.</param>
    /// <param name="expected">The identity they must have; empty: whatever a manifest says.</param>
    /// <exception cref="SoraException">They are damaged, or others.</exception>
    public static string WeightsSha256(string folder, WeightFiles files, string expected = "")
    {
        var hash = WeightsHash.Of(files.Files);
        if (expected.Length > 0 && hash != expected)
            throw new SoraException($"The weights in {folder} are {hash}, not {expected} as was recorded (base_model_sha256): the network there is another one. Give the one that was meant.", ExitCode.InvalidInput);
        return ManifestOf(folder) is not { } manifest || hash == manifest.WeightsSha256
            ? hash
            : throw new SoraException($"{folder} is damaged: its weights are not the ones the manifest names. 'sora checkpoint verify {folder}' tells more; use another checkpoint.", ExitCode.InvalidInput);
    }
}
