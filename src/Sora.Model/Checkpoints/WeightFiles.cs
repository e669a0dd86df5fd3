using System.Text.Json;
using Sora.Model.Checkpoints.Adapters;
using Sora.Protocol.Jobs;

namespace Sora.Model.Checkpoints;

/// <summary>
/// The weights of a folder: <c>model.safetensors</c>, or the files named by <c>model.safetensors.index.json</c>, into which large
/// models are split. An optimizer's state lies in a folder in the same way.
/// </summary>
public sealed class WeightFiles : IDisposable
{
    /// <summary>Name of the file that tells which tensor lies where.</summary>
    public const string IndexFileName = HubWeights.FileName + IndexSuffix;

    private const string IndexSuffix = ".index.json";

    private WeightFiles(IReadOnlyList<SafetensorsFile> files) => Files = files;

    /// <summary>The open files; no two hold a tensor of the same name.</summary>
    public IReadOnlyList<SafetensorsFile> Files { get; }

    /// <summary>Opens the weights of a folder: a network's, or adapters'.</summary>
    /// <exception cref="SoraException">A file is missing or damaged; the message names it.</exception>
    public static WeightFiles Open(string folder) => Open(folder, AdapterFiles.AreIn(folder) ? AdapterFiles.WeightsFileName : HubWeights.FileName);

    /// <summary>Opens tensors that lie in a file of that name, or in several and an index named after it.</summary>
    internal static WeightFiles Open(string folder, string fileName)
    {
        var single = Path.Combine(folder, fileName);
        var index = Path.Combine(folder, IndexNameOf(fileName));
        var files = new List<SafetensorsFile>();
        try
        {
            foreach (var path in File.Exists(single) || !File.Exists(index) ? [single] : Named(index))
                files.Add(SafetensorsFile.Open(path));
            var twice = files.SelectMany(file => file.Tensors).GroupBy(tensor => tensor.Name).FirstOrDefault(group => group.Count() > 1);
            return twice is null
                ? new WeightFiles(files)
                : throw new SoraException($"Tensor '{twice.Key}' is in several files of {index}. Take another copy of the model.", ExitCode.InvalidInput);
        }
        catch
        {
            files.ForEach(file => file.Dispose());
            throw;
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach (var file in Files)
            file.Dispose();
    }

    /// <summary>As <see cref="IndexFileName"/>, of other tensors.</summary>
    internal static string IndexNameOf(string fileName) => fileName + IndexSuffix;

    private static string[] Named(string index)
    {
        try
        {
            using var document = JsonDocument.Parse(File.ReadAllBytes(index));
            var names = document.RootElement.GetProperty("weight_map").EnumerateObject().Select(entry => entry.Value.GetString() ?? "").Distinct().Order(StringComparer.Ordinal).ToList();
            return names.Count > 0 && names.All(name => name.Length > 0 && name == Path.GetFileName(name))
                ? [.. names.Select(name => Path.Combine(Path.GetDirectoryName(index)!, name))]
                : throw new JsonException("its weight_map names no files of this folder");
        }
        catch (Exception exception) when (exception is JsonException or KeyNotFoundException or InvalidOperationException or IOException or UnauthorizedAccessException)
        {
            throw new SoraException($"{index} cannot be used: {exception.Message}", ExitCode.InvalidInput, exception);
        }
    }
}
