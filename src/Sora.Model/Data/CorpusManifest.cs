using System.Security.Cryptography;
using System.Text.Json;
using System.Text.Json.Serialization;
using Sora.Protocol.Jobs;

namespace Sora.Model.Data;

/// <summary>
/// <c>manifest.json</c> of a prepared corpus: what is in it and the hash of every byte. Nothing in it depends on when, where or with
/// how many threads it was prepared, so the SHA-256 of its bytes names the corpus.
/// </summary>
public sealed record CorpusManifest
{
    /// <summary>The file's name inside the folder.</summary>
    public const string FileName = "manifest.json";

    /// <summary>The format this version writes and reads.</summary>
    public const int CurrentFormatVersion = 1;

    /// <summary>Version of the folder's format.</summary>
    public required int FormatVersion { get; init; }

    /// <summary>Type of a token in the shards, little-endian: <c>uint16</c> or <c>uint32</c>.</summary>
    public required string Dtype { get; init; }

    /// <summary>Size of the pieces that are hashed and travel on their own; the last of a file may be shorter.</summary>
    public required int PieceBytes { get; init; }

    /// <summary>How text became tokens.</summary>
    public required ManifestTokenizer Tokenizer { get; init; }

    /// <summary>The part to train on.</summary>
    public required ManifestSplit Train { get; init; }

    /// <summary>The held-out part.</summary>
    public required ManifestSplit Validation { get; init; }

    /// <summary>Share of documents that was asked to be held out.</summary>
    public required double ValidationSplit { get; init; }

    /// <summary>What was read, by name; absolute paths are shortened to their last part.</summary>
    public required IReadOnlyList<string> Sources { get; init; }

    /// <summary>Bytes of a token.</summary>
    [JsonIgnore]
    public int TokenBytes => Dtype == "uint16" ? sizeof(ushort) : sizeof(uint);

    /// <summary>Every file of the corpus but the manifest itself.</summary>
    [JsonIgnore]
    public IEnumerable<ManifestFile> Files =>
        Train.Shards.Concat(Validation.Shards).SelectMany(shard => new[] { shard.File, shard.Index }).Concat(Tokenizer.Files);

    /// <summary>Parses a manifest.</summary>
    /// <param name="utf8">The bytes of the file.</param>
    /// <param name="where">Names the file in errors.</param>
    /// <exception cref="SoraException">It is not a manifest this version reads.</exception>
    public static CorpusManifest Parse(ReadOnlySpan<byte> utf8, string where)
    {
        CorpusManifest? manifest;
        try
        {
            manifest = JsonSerializer.Deserialize(utf8, ManifestJson.Default.CorpusManifest);
        }
        catch (JsonException e)
        {
            throw Damaged(where, e.LineNumber + 1, e);
        }
        if (manifest is null || manifest.Train.Shards.Concat(manifest.Validation.Shards).Contains(null) || manifest.Tokenizer.Files.Contains(null) || manifest.Sources.Contains(null))
            throw Damaged(where);
        if (manifest.FormatVersion != CurrentFormatVersion)
            throw new SoraException(
                $"{where} has format version {manifest.FormatVersion}, but this program reads {CurrentFormatVersion}. Prepare the corpus again with 'sora data prepare'.",
                ExitCode.InvalidInput);
        if (manifest.Dtype is not ("uint16" or "uint32") || manifest.PieceBytes <= 0 || manifest.PieceBytes % sizeof(uint) != 0)
            throw new SoraException(
                $"{where} has dtype '{manifest.Dtype}' and pieces of {manifest.PieceBytes} bytes, which this program does not write. Prepare the corpus again.",
                ExitCode.InvalidInput);
        foreach (var file in manifest.Files)
            if (!IsPlainName(file.Name) || file.Pieces.Count != (file.Bytes + manifest.PieceBytes - 1) / manifest.PieceBytes || !file.Pieces.Append(file.Sha256).All(IsHash))
                throw new SoraException($"{where} is damaged at its file '{file.Name}'. Prepare the corpus again with 'sora data prepare'.", ExitCode.InvalidInput);
        foreach (var shard in manifest.Train.Shards.Concat(manifest.Validation.Shards))
            if (shard.File.Bytes != shard.Tokens * manifest.TokenBytes)
                throw new SoraException($"{where} is damaged: {shard.Tokens} tokens do not make the {shard.File.Bytes} bytes of '{shard.File.Name}'. Prepare the corpus again.", ExitCode.InvalidInput);
        return manifest;
    }

    private static SoraException Damaged(string where, long? line = null, Exception? cause = null) => new(
        $"{where} is damaged or is no manifest of a prepared corpus{(line is null ? "" : $" (line {line})")}. Prepare the corpus again with 'sora data prepare'.",
        ExitCode.InvalidInput, cause);

    // Names and hashes become paths, and a manifest may come over the network.
    private static bool IsPlainName(string name) => Path.GetFileName(name) == name && name is not ("" or "." or "..");

    private static bool IsHash(string hash) => hash.Length == 64 && hash.All(char.IsAsciiHexDigitLower);

    /// <summary>The manifest as it is written to disk.</summary>
    public byte[] ToUtf8() => JsonSerializer.SerializeToUtf8Bytes(this, ManifestJson.Default.CorpusManifest);

    /// <summary>The corpus hash: SHA-256 of the manifest's bytes, lower-case hex.</summary>
    public static string HashOf(ReadOnlySpan<byte> utf8) => Convert.ToHexStringLower(SHA256.HashData(utf8));
}

/// <summary>How text became tokens.</summary>
/// <param name="Kind">Kind, as <c>ITokenizer.Kind</c>.</param>
/// <param name="VocabSize">Ids are below this.</param>
/// <param name="EndOfText">The id after each document.</param>
/// <param name="Files">The tokenizer's files.</param>
public sealed record ManifestTokenizer(string Kind, int VocabSize, int EndOfText, IReadOnlyList<ManifestFile> Files);

/// <summary>One part of the corpus.</summary>
/// <param name="Documents">Documents.</param>
/// <param name="Tokens">Tokens, the one after each document included.</param>
/// <param name="TextBytes">UTF-8 bytes of the text.</param>
/// <param name="Shards">The files, in order.</param>
public sealed record ManifestSplit(long Documents, long Tokens, long TextBytes, IReadOnlyList<ManifestShard> Shards);

/// <summary>One file of tokens.</summary>
/// <param name="Documents">Documents in it.</param>
/// <param name="Tokens">Tokens in it.</param>
/// <param name="TextBytes">UTF-8 bytes of their text.</param>
/// <param name="File">The tokens: no header, nothing but little-endian integers.</param>
/// <param name="Index">Document boundaries: for each document a little-endian uint64, the number of the token after its last.</param>
public sealed record ManifestShard(long Documents, long Tokens, long TextBytes, ManifestFile File, ManifestFile Index);

/// <summary>A file of the corpus.</summary>
/// <param name="Name">Name inside the folder.</param>
/// <param name="Bytes">Its size.</param>
/// <param name="Sha256">Its hash, lower-case hex.</param>
/// <param name="Pieces">The hashes of its pieces, lower-case hex.</param>
public sealed record ManifestFile(string Name, long Bytes, string Sha256, IReadOnlyList<string> Pieces);

[JsonSourceGenerationOptions(
    PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower, WriteIndented = true, NewLine = "\n",
    RespectNullableAnnotations = true, RespectRequiredConstructorParameters = true)]
[JsonSerializable(typeof(CorpusManifest))]
internal sealed partial class ManifestJson : JsonSerializerContext;
