using System.Buffers.Binary;

namespace Sora.Model.Data.Preparation;

/// <summary>One file of tokens with its document boundaries, being written.</summary>
internal sealed class ShardWriter : IDisposable
{
    private readonly FileStream _tokens;
    private readonly FileStream _index;
    private readonly int _tokenBytes;
    private long _documentStart; // of the document under way, or of the next
    private long _documentBytes;

    public ShardWriter(string folder, string split, int number, int tokenBytes)
    {
        _tokenBytes = tokenBytes;
        _tokens = Create(Path.Combine(folder, $"{split}-{number:D5}.bin"));
        _index = Create(Path.Combine(folder, $"{split}-{number:D5}.idx"));
    }

    public string TokensPath => _tokens.Name;

    public string IndexPath => _index.Name;

    public long Tokens { get; private set; }

    public long Documents { get; private set; }

    public long TextBytes { get; private set; }

    /// <summary>Tokens of the last whole document.</summary>
    public long LastDocumentTokens { get; private set; }

    /// <summary>UTF-8 bytes of the last whole document.</summary>
    public long LastDocumentTextBytes { get; private set; }

    /// <summary>Appends tokens to the document under way.</summary>
    public void Append(ReadOnlySpan<byte> tokens, long textBytes)
    {
        _tokens.Write(tokens);
        Tokens += tokens.Length / _tokenBytes;
        TextBytes += textBytes;
        _documentBytes += textBytes;
    }

    /// <summary>Ends the document under way.</summary>
    public void EndDocument()
    {
        WriteBoundary();
        Documents++;
        (LastDocumentTokens, LastDocumentTextBytes) = (Tokens - _documentStart, _documentBytes);
        (_documentStart, _documentBytes) = (Tokens, 0);
    }

    /// <summary>Reads tokens back.</summary>
    public void Read(long offset, Span<int> tokens)
    {
        var bytes = new byte[tokens.Length * _tokenBytes];
        _tokens.Position = offset * _tokenBytes;
        _tokens.ReadExactly(bytes);
        _tokens.Seek(0, SeekOrigin.End);
        TokenBytes.Widen(bytes, tokens, _tokenBytes);
    }

    /// <summary>Moves the last tokens of the last document, all of them or less, behind the last document of another shard.</summary>
    public void MoveTail(long tokens, long textBytes, ShardWriter target)
    {
        var whole = tokens == LastDocumentTokens;
        _tokens.Position = (Tokens - tokens) * _tokenBytes;
        var buffer = new byte[1 << 20];
        for (int read; (read = _tokens.Read(buffer)) > 0;)
            target.Append(buffer.AsSpan(0, read), 0);
        target.TextBytes += textBytes;
        target.EndDocument();

        Tokens -= tokens;
        TextBytes -= textBytes;
        _tokens.SetLength(Tokens * _tokenBytes);
        _index.SetLength(_index.Length - sizeof(ulong));
        if (whole) Documents--;
        else WriteBoundary();
    }

    public void Flush()
    {
        _tokens.Flush(flushToDisk: true);
        _index.Flush(flushToDisk: true);
    }

    public void Dispose()
    {
        try
        {
            _tokens.Dispose(); // writes what is buffered, so it fails on a full disk
        }
        finally
        {
            _index.Dispose();
        }
    }

    private void WriteBoundary()
    {
        Span<byte> end = stackalloc byte[sizeof(ulong)];
        BinaryPrimitives.WriteUInt64LittleEndian(end, (ulong)Tokens);
        _index.Seek(0, SeekOrigin.End);
        _index.Write(end);
    }

    private static FileStream Create(string path) => new(path, FileMode.CreateNew, FileAccess.ReadWrite, FileShare.Read, 1 << 20);
}
