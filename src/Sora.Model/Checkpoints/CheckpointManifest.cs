using System.Security.Cryptography;
using System.Text.Json;
using System.Text.Json.Serialization;
using Sora.Protocol.Jobs;

namespace Sora.Model.Checkpoints;

/// <summary>One file of a checkpoint.</summary>
/// <param name="Name">Its name in the folder.</param>
/// <param name="Bytes">Its size.</param>
/// <param name="Sha256">SHA-256 of its bytes, lower-case hex.</param>
public sealed record CheckpointFile(string Name, long Bytes, string Sha256);

/// <summary>What a checkpoint is and what it is made of: <c>manifest.json</c>, written last.</summary>
public sealed record CheckpointManifest
{
    /// <summary>The version this program writes, and the newest it reads. Version 1 had all tensors of a kind in one file.</summary>
    public const int CurrentFormatVersion = 2;

    /// <summary>The file's name.</summary>
    public const string FileName = "manifest.json";

    /// <summary>Version of this format.</summary>
    public required int FormatVersion { get; init; }

    /// <summary>Steps committed; the run goes on with the step of this number.</summary>
    public required long Step { get; init; }

    /// <summary>Training tokens seen so far.</summary>
    public required long TokensSeen { get; init; }

    /// <summary>Hash of the keys of the job that decide the weights.</summary>
    public required string JobSha256 { get; init; }

    /// <summary>Hash that names the corpus.</summary>
    public required string CorpusSha256 { get; init; }

    /// <summary>Entries of the vocabulary.</summary>
    public required int VocabSize { get; init; }

    /// <summary>Gradient hash of the job's canary: what the numerics of the workers that made it give.</summary>
    public required string Canary { get; init; }

    /// <summary>What fixed the bits, in words: libtorch version, device class, threads.</summary>
    public required string Numerics { get; init; }

    /// <summary>The weights' identity; see <see cref="WeightsHash"/>.</summary>
    public required string WeightsSha256 { get; init; }

    /// <summary>Every other file of the folder, by name.</summary>
    public required IReadOnlyList<CheckpointFile> Files { get; init; }

    /// <summary>SHA-256 of this manifest with an empty checksum.</summary>
    public string Checksum { get; init; } = "";

    /// <summary>The bytes of the file, checksum filled in.</summary>
    internal byte[] ToUtf8() => Serialize(this with { Checksum = ChecksumOf(this) });

    /// <summary>Reads <c>manifest.json</c> of a checkpoint folder.</summary>
    /// <exception cref="SoraException">It is absent, damaged or of a later version.</exception>
    public static CheckpointManifest Read(string folder)
    {
        var path = Path.Combine(folder, FileName);
        try
        {
            return Parse(File.ReadAllBytes(path), path);
        }
        catch (Exception exception) when (exception is FileNotFoundException or DirectoryNotFoundException)
        {
            throw new SoraException($"{folder} is not a checkpoint: it has no {FileName}.", ExitCode.InvalidInput, exception);
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            throw new SoraException($"Cannot read {path}: {exception.Message}", ExitCode.InvalidInput, exception);
        }
    }

    /// <summary>Reads the bytes of a manifest.</summary>
    /// <param name="utf8">The bytes.</param>
    /// <param name="path">Where they come from, for error messages.</param>
    /// <exception cref="SoraException">They are damaged or of a later version.</exception>
    internal static CheckpointManifest Parse(ReadOnlySpan<byte> utf8, string path)
    {
        try
        {
            var manifest = JsonSerializer.Deserialize(utf8, CheckpointJson.Default.CheckpointManifest)
                ?? throw new JsonException("it holds null");
            if (manifest.FormatVersion is < 1 or > CurrentFormatVersion)
                throw new SoraException($"{path} has format version {manifest.FormatVersion}; this program reads up to {CurrentFormatVersion}. Use the version of sora that wrote it.", ExitCode.InvalidInput);
            if (ChecksumOf(manifest) != manifest.Checksum)
                throw new SoraException($"{path} is damaged: its content does not give its checksum.", ExitCode.InvalidInput);
            // A name that leads out of the folder would have other people's files read.
            return manifest.Files.FirstOrDefault(file => Path.GetFileName(file.Name) != file.Name || file.Name is "" or "." or "..") is { } odd
                ? throw new SoraException($"{path} names a file '{odd.Name}' outside the checkpoint; do not use it.", ExitCode.InvalidInput)
                : manifest;
        }
        catch (JsonException exception)
        {
            throw new SoraException($"{path} is damaged: {exception.Message}", ExitCode.InvalidInput, exception);
        }
    }

    private static string ChecksumOf(CheckpointManifest manifest) =>
        Convert.ToHexStringLower(SHA256.HashData(Serialize(manifest with { Checksum = "" })));

    private static byte[] Serialize(CheckpointManifest manifest) =>
        JsonSerializer.SerializeToUtf8Bytes(manifest, CheckpointJson.Default.CheckpointManifest);
}

[JsonSourceGenerationOptions(
    PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower, WriteIndented = true, NewLine = "\n",
    RespectNullableAnnotations = true, RespectRequiredConstructorParameters = true)]
[JsonSerializable(typeof(CheckpointManifest))]
internal sealed partial class CheckpointJson : JsonSerializerContext;
