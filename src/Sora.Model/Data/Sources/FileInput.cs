using System.Globalization;
using System.IO.Compression;
using Sora.Protocol.Jobs;

namespace Sora.Model.Data.Sources;

/// <summary>A file whose name tells its format: <c>.txt</c> and <c>.md</c> (one document), <c>.jsonl</c> or <c>.parquet</c>, each also <c>.gz</c> or <c>.zst</c>.</summary>
internal sealed class FileInput : CorpusInput
{
    public const string SupportedTypes = ".txt, .md, .jsonl and .parquet, each also with .gz or .zst";

    private readonly string _path;
    private readonly string _format;
    private readonly string _compression;
    private readonly string _textField;
    private readonly string? _stamp;

    /// <param name="path">The file.</param>
    /// <param name="textField">The JSON or Parquet field that holds the text.</param>
    /// <param name="name">Names it in messages; null: the path.</param>
    /// <param name="typedName">A name whose extensions tell the format; null: the path.</param>
    /// <param name="stamp">Its stamp; null: size and time of the last change.</param>
    public FileInput(string path, string textField, string? name = null, string? typedName = null, string? stamp = null)
    {
        _path = path;
        _textField = textField;
        _stamp = stamp;
        Name = name ?? path;
        (_format, _compression) = Extensions(typedName ?? path);
        Bytes = new FileInfo(path).Length;
    }

    public override string Name { get; }

    public override long Bytes { get; }

    public override string Stamp =>
        _stamp ?? string.Create(CultureInfo.InvariantCulture, $"{Path.GetFullPath(_path)} {Bytes} {File.GetLastWriteTimeUtc(_path).Ticks}");

    public static bool IsSupported(string path) => Extensions(path).Format is ".txt" or ".md" or ".jsonl" or ".parquet";

    public override async IAsyncEnumerable<TextBatch> ReadAsync([System.Runtime.CompilerServices.EnumeratorCancellation] CancellationToken cancellationToken)
    {
        await using var file = Open();
        CheckCompression(file);
        await using var content = Decompress(file);
        var batches = _format switch
        {
            ".jsonl" => JsonLines.ReadAsync(content, Name, _textField, () => file.Position, cancellationToken),
            ".parquet" => ParquetRows.ReadAsync(content, Name, Bytes, _textField, cancellationToken),
            _ => PlainText.ReadAsync(content, Name, () => file.Position, cancellationToken),
        };
        await using var each = batches.GetAsyncEnumerator(cancellationToken);
        while (await MoveNextAsync(each)) yield return each.Current;
    }

    private async ValueTask<bool> MoveNextAsync(IAsyncEnumerator<TextBatch> batches)
    {
        try
        {
            return await batches.MoveNextAsync();
        }
        catch (Exception e) when (e is InvalidDataException or ZstdSharp.ZstdException or EndOfStreamException or Parquet.ParquetException)
        {
            throw new SoraException($"{Name} is damaged or is no {(_compression.Length > 0 ? _compression : _format)} file: {e.Message}", ExitCode.InvalidInput, e);
        }
        catch (IOException e)
        {
            throw new SoraException($"{Name} cannot be read: {e.Message}", ExitCode.InvalidInput, e);
        }
    }

    private FileStream Open()
    {
        try
        {
            return new FileStream(_path, FileMode.Open, FileAccess.Read, FileShare.Read, BatchBytes, FileOptions.SequentialScan);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new SoraException($"{Name} cannot be read: {e.Message}", ExitCode.InvalidInput, e);
        }
    }

    /// <summary>Refuses a file that only has the name of a packed one; what the library says of it helps nobody.</summary>
    private void CheckCompression(FileStream file)
    {
        if (_compression.Length == 0 || Bytes == 0) return;
        Span<byte> start = stackalloc byte[4];
        var length = file.ReadAtLeast(start, start.Length, throwOnEndOfStream: false);
        file.Position = 0;
        var fits = _compression == ".gz"
            ? start[..length] is [0x1F, 0x8B, ..]
            : start[..length] is [0x28, 0xB5, 0x2F, 0xFD] or [>= 0x50 and <= 0x5F, 0x2A, 0x4D, 0x18]; // a frame, or one to skip
        if (!fits)
            throw new SoraException(
                $"{Name} is not compressed, or otherwise than its name says: it does not begin as a {_compression} file does. " +
                $"Compress it with {(_compression == ".gz" ? "gzip" : "zstd")}, or rename it without {_compression}.", ExitCode.InvalidInput);
    }

    private Stream Decompress(FileStream file) => _compression switch
    {
        ".gz" => new GZipStream(file, CompressionMode.Decompress),
        ".zst" => new ZstdSharp.DecompressionStream(file),
        _ => file,
    };

    private static (string Format, string Compression) Extensions(string path)
    {
        var last = Path.GetExtension(path).ToLowerInvariant();
        return last is ".gz" or ".zst"
            ? (Path.GetExtension(Path.GetFileNameWithoutExtension(path)).ToLowerInvariant(), last)
            : (last, "");
    }
}
