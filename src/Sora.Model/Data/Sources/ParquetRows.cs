using System.Buffers;
using System.Runtime.CompilerServices;
using Parquet;
using Parquet.Schema;
using Sora.Protocol.Jobs;

namespace Sora.Model.Data.Sources;

/// <summary>A text column of a Parquet file, one document a row. Memory is bounded by the file's largest row group.</summary>
internal static class ParquetRows
{
    public static async IAsyncEnumerable<TextBatch> ReadAsync(
        Stream content, string name, long bytes, string textField, [EnumeratorCancellation] CancellationToken cancellationToken)
    {
        await using var seekable = await SeekableAsync(content, cancellationToken);
        await using var reader = await OpenAsync(seekable, name, cancellationToken);
        var field = FindField(reader.Schema, name, textField);
        for (var group = 0; group < reader.RowGroupCount; group++)
        {
            using var rows = reader.OpenRowGroupReader(group);
            var texts = new byte[]?[checked((int)rows.RowCount)];
            await rows.ReadAsync(field, texts.AsMemory(), cancellationToken: cancellationToken);

            var (first, size) = (0, 0L);
            for (var row = 0; row < texts.Length; row++)
            {
                size += texts[row]?.Length ?? 0;
                if (size < CorpusInput.BatchBytes && row < texts.Length - 1) continue;
                var share = first == 0 ? bytes / reader.RowGroupCount : 0;
                yield return new ParquetBatch(texts.AsMemory(first, row + 1 - first), $"{name}, row group {group}", first) { InputBytes = share };
                (first, size) = (row + 1, 0);
            }
        }
    }

    private static async Task<ParquetReader> OpenAsync(Stream stream, string name, CancellationToken cancellationToken)
    {
        try
        {
            return await ParquetReader.CreateAsync(stream, cancellationToken: cancellationToken);
        }
        catch (IOException e)
        {
            // It was sought where the last bytes say, which is nowhere.
            throw new SoraException($"{name} is no Parquet file, or it is cut short.", ExitCode.InvalidInput, e);
        }
        catch (Exception e) when (e is ParquetException or ArgumentException)
        {
            throw new SoraException($"{name} is no Parquet file, or it is cut short: {e.Message}", ExitCode.InvalidInput, e);
        }
    }

    private static DataField FindField(ParquetSchema schema, string name, string textField)
    {
        var field = schema.DataFields.FirstOrDefault(field => field.Path.ToString() == textField);
        if (field is null || field.MaxRepetitionLevel > 0 || (field.ClrType != typeof(ReadOnlyMemory<char>) && field.ClrType != typeof(string) && field.ClrType != typeof(byte[])))
            throw new SoraException(
                $"{name} has no text column '{textField}'. Its columns are {string.Join(", ", schema.DataFields.Select(field => field.Path.ToString()))}: " +
                "name the one that holds the text with data.text_field, or outside a job with --text-field.", ExitCode.InvalidInput);

        // The same column as bytes: read as a string, bytes that are no UTF-8 would be replaced silently.
        var asBytes = new DataField(field.Name, typeof(byte[]), field.IsNullable);
        _ = new ParquetSchema(asBytes);
        return asBytes;
    }

    private static async ValueTask<Stream> SeekableAsync(Stream content, CancellationToken cancellationToken)
    {
        if (content.CanSeek) return content;
        var path = Path.Combine(Path.GetTempPath(), $"sora-{Guid.NewGuid():N}.parquet");
        var unpacked = new FileStream(path, FileMode.CreateNew, FileAccess.ReadWrite, FileShare.None, 1 << 16, FileOptions.DeleteOnClose | FileOptions.Asynchronous);
        if (!OperatingSystem.IsWindows()) File.Delete(path); // the open file lives on, and goes even when this process is killed
        try
        {
            await content.CopyToAsync(unpacked, cancellationToken);
            await unpacked.FlushAsync(cancellationToken);
            unpacked.Position = 0;
            return unpacked;
        }
        catch (Exception e)
        {
            await unpacked.DisposeAsync();
            if (DiskErrors.IsFull(e)) throw DiskErrors.Explained(path, e); // else it is the input that cannot be read
            throw;
        }
    }
}

/// <summary>Rows of one row group.</summary>
internal sealed class ParquetBatch(ReadOnlyMemory<byte[]?> texts, string name, int firstRow) : TextBatch
{
    public override IEnumerable<TextPart> Decode()
    {
        for (var i = 0; i < texts.Length; i++)
        {
            var utf8 = texts.Span[i];
            if (utf8 is null or []) continue;
            var chars = ArrayPool<char>.Shared.Rent(utf8.Length);
            var written = Utf8Text.Decode(utf8, chars, $"{name}, row {firstRow + i}", 0);
            yield return new(chars.AsMemory(0, written), utf8.Length, EndsDocument: true);
            ArrayPool<char>.Shared.Return(chars);
        }
    }
}
