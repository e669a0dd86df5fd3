using System.Buffers;
using System.Security.Cryptography;
using MessagePack;

namespace Sora.Federation.Aggregation.Updates;

/// <summary>
/// What a site says about its update before it sends it: whose, for which round, how many parameters, how encoded, the weight,
/// and the SHA-256 of every chunk and of the whole. With it each chunk can be checked alone, in any order, after any interruption.
/// </summary>
public sealed class UpdateManifest
{
    /// <summary>Bytes of a chunk unless another size is asked for.</summary>
    public const int DefaultChunkBytes = 1 << 20;

    /// <summary>The largest chunk that is taken: what a coordinator must hold of a site at once.</summary>
    public const int MaxChunkBytes = 16 << 20;

    private const int Version = 1;
    private const int Fields = 9;
    private const int MaxSiteBytes = 256;

    // 2 MiB of hashes: what a coordinator holds of a site that announces the smallest chunks it can.
    private const int MaxChunks = 1 << 16;
    private readonly byte[] _chunkHashes;
    private readonly byte[] _hash;

    /// <summary>Creates a manifest; every field is checked.</summary>
    /// <exception cref="InvalidUpdateException">The fields contradict each other or are out of range.</exception>
    public UpdateManifest(string site, long round, long parameters, double weight, UpdateEncoding encoding, int chunkBytes,
        ReadOnlySpan<byte> hash, ReadOnlySpan<byte> chunkHashes)
    {
        if (site.Length == 0 || System.Text.Encoding.UTF8.GetByteCount(site) > MaxSiteBytes)
            throw new InvalidUpdateException($"A site's name has 1 to {MaxSiteBytes} bytes.");
        if (round < 0)
            throw new InvalidUpdateException($"Round {round} of site {site} is negative.");
        if (parameters is < 1 or > 1L << 40)
            throw new InvalidUpdateException($"The update of site {site} claims {parameters} parameters; 1 to 2^40 are possible.");
        if (!double.IsFinite(weight) || weight <= 0)
            throw new InvalidUpdateException($"The weight of site {site} is {weight}; it must be positive and finite (a number of examples or tokens).");
        if (chunkBytes is < 1 or > MaxChunkBytes)
            throw new InvalidUpdateException($"Chunks of {chunkBytes} bytes; 1 to {MaxChunkBytes} are possible.");
        (Site, Round, Parameters, Weight, Encoding, ChunkBytes) = (site, round, parameters, weight, encoding, chunkBytes);
        Bytes = UpdateCodec.EncodedBytes(encoding, parameters);
        var chunks = (Bytes + chunkBytes - 1) / chunkBytes;
        if (chunks > MaxChunks)
            throw new InvalidUpdateException($"{Bytes} bytes in chunks of {chunkBytes} are {chunks} chunks, more than {MaxChunks}; use larger chunks.");
        Chunks = (int)chunks;
        if (hash.Length != SHA256.HashSizeInBytes || chunkHashes.Length != Chunks * SHA256.HashSizeInBytes)
            throw new InvalidUpdateException($"The update of site {site} has {Chunks} chunks but {chunkHashes.Length} bytes of chunk hashes and {hash.Length} of its own.");
        (_hash, _chunkHashes) = (hash.ToArray(), chunkHashes.ToArray());
    }

    /// <summary>The site.</summary>
    public string Site { get; }

    /// <summary>The round whose global weights the site began with.</summary>
    public long Round { get; }

    /// <summary>How many numbers the update holds.</summary>
    public long Parameters { get; }

    /// <summary>Its weight in an average: the number of examples or tokens trained on.</summary>
    public double Weight { get; }

    /// <summary>How the numbers are written.</summary>
    public UpdateEncoding Encoding { get; }

    /// <summary>Bytes of every chunk but the last.</summary>
    public int ChunkBytes { get; }

    /// <summary>Bytes of the whole update.</summary>
    public long Bytes { get; }

    /// <summary>How many chunks.</summary>
    public int Chunks { get; }

    /// <summary>SHA-256 of the whole.</summary>
    public ReadOnlyMemory<byte> Hash => _hash;

    /// <summary>SHA-256 of a chunk.</summary>
    public ReadOnlySpan<byte> ChunkHash(int chunk) => _chunkHashes.AsSpan(chunk * SHA256.HashSizeInBytes, SHA256.HashSizeInBytes);

    /// <summary>Where a chunk begins.</summary>
    public long ChunkOffset(int chunk) => (long)chunk * ChunkBytes;

    /// <summary>How long a chunk is; only the last one may be shorter than <see cref="ChunkBytes"/>.</summary>
    public int ChunkLength(int chunk) => (int)Math.Min(ChunkBytes, Bytes - ChunkOffset(chunk));

    /// <summary>Whether both announce the same bytes with the same claims.</summary>
    public bool SameAs(UpdateManifest other) => Write().AsSpan().SequenceEqual(other.Write());

    /// <summary>Packs the manifest: <c>[version, site, round, parameters, weight, encoding, chunk bytes, hash, chunk hashes]</c>.</summary>
    public byte[] Write()
    {
        var buffer = new ArrayBufferWriter<byte>(_chunkHashes.Length + 512);
        var writer = new MessagePackWriter(buffer);
        writer.WriteArrayHeader(Fields);
        writer.Write(Version);
        writer.Write(Site);
        writer.Write(Round);
        writer.Write(Parameters);
        writer.Write(Weight);
        writer.Write((int)Encoding);
        writer.Write(ChunkBytes);
        writer.Write(_hash);
        writer.Write(_chunkHashes);
        writer.Flush();
        return buffer.WrittenSpan.ToArray();
    }

    /// <summary>Unpacks what <see cref="Write"/> packed.</summary>
    /// <exception cref="InvalidUpdateException">Anything else.</exception>
    public static UpdateManifest Read(ReadOnlyMemory<byte> packed)
    {
        var reader = new MessagePackReader(packed);
        try
        {
            if (reader.ReadArrayHeader() is var fields && fields != Fields)
                throw new InvalidUpdateException($"A manifest has {Fields} fields, not {fields}.");
            if (reader.ReadInt32() is var version && version != Version)
                throw new InvalidUpdateException($"This manifest has version {version}, known is {Version}; use the same release at site and coordinator.");
            var site = reader.ReadString() ?? "";
            var (round, parameters, weight, encoding, chunkBytes) =
                (reader.ReadInt64(), reader.ReadInt64(), reader.ReadDouble(), (UpdateEncoding)reader.ReadInt32(), reader.ReadInt32());
            var hash = reader.ReadBytes()?.ToArray() ?? [];
            var chunkHashes = reader.ReadBytes()?.ToArray() ?? [];
            if (!reader.End)
                throw new InvalidUpdateException("The manifest goes on after its last field.");
            return new UpdateManifest(site, round, parameters, weight, encoding, chunkBytes, hash, chunkHashes);
        }
        // The reader answers lengths beyond its own range with an ArgumentException, of which DecoderFallbackException is one too.
        catch (Exception e) when (e is MessagePackSerializationException or EndOfStreamException or OverflowException or ArgumentException)
        {
            throw new InvalidUpdateException("The manifest is not what this format writes: " + e.Message, e);
        }
    }
}
