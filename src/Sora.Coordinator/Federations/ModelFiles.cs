using System.Runtime.InteropServices;
using System.Security.Cryptography;
using Sora.Federation.Aggregation.Strategies;
using Sora.Federation.Rounds;
using Sora.Protocol.Jobs;

namespace Sora.Coordinator.Federations;

/// <summary>The global models of a run, each a flat vector of 32-bit numbers in a file, and what the server's optimizer remembers beside them.</summary>
internal sealed class ModelFiles(string folder, long parameters)
{
    private const int RunBytes = 1 << 20;

    public string PathOf(int number) => Path.Combine(folder, "models", $"{number}.f32");

    /// <summary>What is wrong with a model that should be here; null: nothing.</summary>
    public string? Objection(ModelVersion model)
    {
        var path = PathOf(model.Number);
        if (!File.Exists(path))
            return $"There is no model {path}. Whoever submits the run writes the model it begins with.";
        using var file = File.OpenRead(path);
        if (file.Length != parameters * sizeof(float))
            return $"{path} has {file.Length} bytes; {parameters} parameters have {parameters * sizeof(float)}.";
        return Convert.ToHexStringLower(SHA256.HashData(file)) == model.Sha256 ? null : $"{path} is not the model that was submitted: its SHA-256 differs.";
    }

    /// <summary>A model with its optimizer's state.</summary>
    /// <exception cref="SoraException">It is not here, or damaged.</exception>
    public ServerModel Read(ModelVersion model, ServerOptimizer optimizer)
    {
        if (Objection(model) is { } objection)
            throw new SoraException(objection, ExitCode.InvalidInput);
        if (model.Number > 0 && optimizer.StateVectors > 0)
        {
            using var state = File.OpenRead(StateOf(model));
            return ServerModel.Read(state);
        }
        var weights = new float[parameters];
        using var file = File.OpenRead(PathOf(model.Number));
        file.ReadExactly(MemoryMarshal.AsBytes(weights.AsSpan()));
        var begun = optimizer.Begin(weights);
        return new ServerModel(model.Number, begun.Weights, begun.State);
    }

    /// <summary>Writes a model; when this returns it is on the disk, and whole.</summary>
    /// <returns>What it is known by.</returns>
    public ModelVersion Write(int number, ServerModel model)
    {
        var bytes = MemoryMarshal.AsBytes(model.Weights.AsSpan());
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        for (var at = 0; at < bytes.Length; at += RunBytes)
            hash.AppendData(bytes.Slice(at, Math.Min(RunBytes, bytes.Length - at)));
        var version = new ModelVersion(number, Convert.ToHexStringLower(hash.GetHashAndReset()));
        // A model that is there without its state would be one that nobody can go on from.
        if (model.State.Length > 0)
            Replace(StateOf(version), model.Write);
        Replace(PathOf(number), file =>
        {
            var values = MemoryMarshal.AsBytes(model.Weights.AsSpan());
            for (var at = 0; at < values.Length; at += RunBytes)
                file.Write(values.Slice(at, Math.Min(RunBytes, values.Length - at)));
        });
        return version;
    }

    private string StateOf(ModelVersion model) => Path.Combine(folder, "server", $"{model.Number}-{model.Sha256[..16]}.state");

    private static void Replace(string path, Action<FileStream> write)
    {
        Directory.CreateDirectory(Path.GetDirectoryName(path)!);
        // A name of its own: another process may still be about to do the same.
        var temporary = $"{path}.{Guid.NewGuid():N}.new";
        using (var file = new FileStream(temporary, FileMode.CreateNew, FileAccess.Write))
        {
            write(file);
            file.Flush(flushToDisk: true);
        }
        File.Move(temporary, path, overwrite: true);
    }
}
