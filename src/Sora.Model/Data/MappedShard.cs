using System.Buffers.Binary;
using System.IO.MemoryMappedFiles;
using System.Runtime.InteropServices;

namespace Sora.Model.Data;

/// <summary>A file of tokens, memory-mapped: several processes on one host share the same pages.</summary>
internal sealed unsafe class MappedShard : IDisposable
{
    private readonly MemoryMappedFile? _file;
    private readonly MemoryMappedViewAccessor? _view;
    private readonly byte* _start;
    private readonly long _tokens;
    private readonly int _tokenBytes;
    private bool _disposed;

    public MappedShard(string path, long tokens, int tokenBytes)
    {
        _tokens = tokens;
        _tokenBytes = tokenBytes;
        if (tokens == 0) return; // an empty file cannot be mapped
        _file = MemoryMappedFile.CreateFromFile(path, FileMode.Open, mapName: null, 0, MemoryMappedFileAccess.Read);
        _view = _file.CreateViewAccessor(0, tokens * tokenBytes, MemoryMappedFileAccess.Read);
        _view.SafeMemoryMappedViewHandle.AcquirePointer(ref _start);
    }

    public void Read(long offset, Span<int> tokens)
    {
        ObjectDisposedException.ThrowIf(_disposed, this); // else the pointer would lead nowhere
        ArgumentOutOfRangeException.ThrowIfNegative(offset);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(offset + tokens.Length, _tokens);
        if (tokens.IsEmpty) return;
        TokenBytes.Widen(new ReadOnlySpan<byte>(_start + (offset * _tokenBytes), tokens.Length * _tokenBytes), tokens, _tokenBytes);
    }

    public void Dispose()
    {
        if (_disposed) return;
        _disposed = true;
        _view?.SafeMemoryMappedViewHandle.ReleasePointer();
        _view?.Dispose();
        _file?.Dispose();
    }
}

/// <summary>Tokens as the shards hold them: little-endian unsigned integers of two or four bytes.</summary>
internal static class TokenBytes
{
    public static void Widen(ReadOnlySpan<byte> bytes, Span<int> tokens, int tokenBytes)
    {
        if (tokenBytes == sizeof(ushort))
        {
            var narrow = MemoryMarshal.Cast<byte, ushort>(bytes);
            for (var i = 0; i < tokens.Length; i++)
                tokens[i] = BitConverter.IsLittleEndian ? narrow[i] : BinaryPrimitives.ReverseEndianness(narrow[i]);
        }
        else
        {
            for (var i = 0; i < tokens.Length; i++)
                tokens[i] = BinaryPrimitives.ReadInt32LittleEndian(bytes[(i * sizeof(int))..]);
        }
    }

    public static void Narrow(ReadOnlySpan<int> tokens, Span<byte> bytes, int tokenBytes)
    {
        for (var i = 0; i < tokens.Length; i++)
        {
            if (tokenBytes == sizeof(ushort)) BinaryPrimitives.WriteUInt16LittleEndian(bytes[(i * sizeof(ushort))..], checked((ushort)tokens[i]));
            else BinaryPrimitives.WriteInt32LittleEndian(bytes[(i * sizeof(int))..], tokens[i]);
        }
    }
}
