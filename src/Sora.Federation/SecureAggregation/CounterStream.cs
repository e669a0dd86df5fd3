using System.Buffers.Binary;
using System.Runtime.InteropServices;
using System.Security.Cryptography;

namespace Sora.Federation.SecureAggregation;

/// <summary>
/// The pseudo-random stream of masks: AES-256 in counter mode (NIST SP 800-38A), read as little-endian words, from any position.
/// .NET has no counter mode, so counters are encrypted block by block, a buffer at a time.
/// </summary>
internal sealed class CounterStream : IDisposable
{
    public const int KeyBytes = 32;

    private const int BlockBytes = 16;
    private const int BlockWords = BlockBytes / sizeof(uint);
    private const int BufferBlocks = 1024; // both buffers and the target's slice stay in the L2 cache

    private readonly UInt128 _initialCounter;
    private readonly Aes _aes;
    private readonly ICryptoTransform _encrypt;
    private byte[] _counters = [];
    private byte[] _stream = [];

    /// <summary>The counter starts at 0: a key is used for one mask only.</summary>
    public CounterStream(byte[] key, UInt128 initialCounter = default)
    {
        ArgumentOutOfRangeException.ThrowIfNotEqual(key.Length, KeyBytes, nameof(key));
        _initialCounter = initialCounter;
        _aes = Aes.Create();
        _aes.Mode = CipherMode.ECB;
        _aes.Padding = PaddingMode.None;
        _aes.Key = key;
        _encrypt = _aes.CreateEncryptor();
    }

    /// <summary>Adds the words of the stream from <paramref name="first"/> on, modulo 2^32.</summary>
    public void Add(Span<uint> target, long first) => Apply(target, first, negative: false);

    /// <summary>Subtracts the words of the stream from <paramref name="first"/> on, modulo 2^32.</summary>
    public void Subtract(Span<uint> target, long first) => Apply(target, first, negative: true);

    public void Dispose()
    {
        CryptographicOperations.ZeroMemory(_stream);
        _encrypt.Dispose();
        _aes.Dispose();
    }

    private void Apply(Span<uint> target, long first, bool negative)
    {
        while (!target.IsEmpty)
        {
            var skip = (int)(first % BlockWords);
            var blocks = Math.Min(BufferBlocks, (int)(((long)skip + target.Length + BlockWords - 1) / BlockWords));
            Generate(first / BlockWords, blocks);
            var words = MemoryMarshal.Cast<byte, uint>(_stream.AsSpan(0, blocks * BlockBytes));
            if (!BitConverter.IsLittleEndian)
                BinaryPrimitives.ReverseEndianness(words, words);
            words = words[skip..];
            var count = Math.Min(words.Length, target.Length);
            if (negative)
                ModularVector.Subtract(target[..count], words[..count]);
            else
                ModularVector.Add(target[..count], words[..count]);
            target = target[count..];
            first += count;
        }
    }

    private void Generate(long firstBlock, int blocks)
    {
        if (_counters.Length < blocks * BlockBytes)
            (_counters, _stream) = (new byte[blocks * BlockBytes], new byte[blocks * BlockBytes]);
        var counter = _initialCounter + (UInt128)firstBlock;
        for (var i = 0; i < blocks; i++)
            BinaryPrimitives.WriteUInt128BigEndian(_counters.AsSpan(i * BlockBytes, BlockBytes), counter++);
        _encrypt.TransformBlock(_counters, 0, blocks * BlockBytes, _stream, 0);
    }
}
