using System.Buffers;
using System.Buffers.Binary;
using System.Runtime.InteropServices;
using MessagePack;
using Sora.Federation.Policies;
using Sora.Federation.Rounds;
using Sora.Federation.SecureAggregation;
using Sora.Protocol.Jobs;
using static Sora.Federation.Wire.Elements;
using static Sora.Federation.Wire.Packing;
using static Sora.Federation.Wire.RoundElements;

namespace Sora.Federation.Wire;

/// <summary>
/// The messages of secure aggregation as MessagePack. Each names the attempt it is of: one that was long on its way must not be taken for an
/// answer to the next. Whether keys, shares and signatures are sound is for the protocol to say; here they have limits only.
/// </summary>
public static class SecureMessageFormat
{
    // Keys, signatures, commitments and encrypted shares are all shorter than 100 bytes.
    private const int MaxSecretBytes = 256;

    /// <summary>Whether these bytes begin like a message that this release reads.</summary>
    public static bool Knows(ReadOnlyMemory<byte> message) => KindOf(message) is
        "secure-plan:v1" or "advertised-keys:v1" or "key-roster:v1" or "key-shares:v1" or "share-delivery:v1" or "masked-chunk:v1"
        or "survivor-set:v1" or "survivor-signature:v1" or "unmask-request:v1" or "unmask-shares:v1";

    /// <summary>What a site's policy calls a message of a site.</summary>
    public static string TypeOf(object message) => message switch
    {
        AdvertisedKeys => SiteMessages.Keys,
        KeyShares => SiteMessages.Shares,
        MaskedChunk => SiteMessages.MaskedUpdate,
        SurvivorSignature => SiteMessages.Consistency,
        UnmaskShares => SiteMessages.Unmask,
        _ => throw new InvalidRoundMessageException($"A site's policy has no name for a {message.GetType().Name}: no site sends it."),
    };

    /// <summary>Packs the plan of a secure attempt, which the coordinator announces before its first stage.</summary>
    public static byte[] Write(RoundKey round, SecureAggregationPlan plan) => Pack("secure-plan:v1", (round, plan), static (ref writer, said) =>
    {
        var (_, plan) = Begin(ref writer, 8, said);
        WriteBytes(ref writer, plan.SessionId);
        WriteName(ref writer, plan.Run);
        WriteNumber(ref writer, plan.Round, least: 1);
        WriteNumber(ref writer, plan.Parameters, least: 1);
        WriteNumber(ref writer, plan.MinimumSites);
        writer.WriteArrayHeader(3);
        writer.Write(plan.Encoding.MaximumSites);
        writer.Write(plan.Encoding.ValueRange);
        writer.Write(plan.Encoding.MaximumWeight);
        writer.WriteArrayHeader(3);
        writer.Write(plan.Threat.AdversarialRate);
        writer.Write(plan.Threat.DropoutRate);
        writer.Write((int)plan.Threat.Adversary);
    });

    /// <summary>Packs a site's keys.</summary>
    public static byte[] Write(RoundKey round, AdvertisedKeys keys) => Pack("advertised-keys:v1", (round, keys), static (ref writer, said) =>
        WriteKeys(ref writer, Begin(ref writer, 2, said).Message));

    /// <summary>Packs everybody's keys.</summary>
    public static byte[] Write(RoundKey round, KeyRoster roster) => Pack("key-roster:v1", (round, roster), static (ref writer, said) =>
        WriteList(ref writer, Begin(ref writer, 2, said).Message.Sites, MaxSites, WriteKeys));

    /// <summary>Packs a site's shares for its neighbours.</summary>
    public static byte[] Write(RoundKey round, KeyShares shares) => Pack("key-shares:v1", (round, shares), static (ref writer, said) =>
    {
        var (_, shares) = Begin(ref writer, 4, said);
        WriteName(ref writer, shares.Site);
        WriteBytes(ref writer, shares.SelfMaskCommitment);
        WriteList(ref writer, shares.Shares, MaxSites, WriteSealed);
    });

    /// <summary>Packs the shares for a site.</summary>
    public static byte[] Write(RoundKey round, ShareDelivery delivery) => Pack("share-delivery:v1", (round, delivery), static (ref writer, said) =>
    {
        var (_, delivery) = Begin(ref writer, 3, said);
        WriteName(ref writer, delivery.Site);
        WriteList(ref writer, delivery.Shares, MaxSites, WriteSealed);
    });

    /// <summary>Packs a part of a masked input: its values little-endian, as an update's are.</summary>
    public static byte[] Write(RoundKey round, MaskedChunk chunk) => Pack("masked-chunk:v1", (round, chunk), static (ref writer, said) =>
    {
        var (_, chunk) = Begin(ref writer, 4, said);
        WriteName(ref writer, chunk.Site);
        WriteNumber(ref writer, chunk.First, most: long.MaxValue);
        writer.Write(MemoryMarshal.AsBytes(LittleEndian(chunk.Values.Span)));
    });

    /// <summary>Packs the set of survivors.</summary>
    public static byte[] Write(RoundKey round, SurvivorSet survivors) => Pack("survivor-set:v1", (round, survivors), static (ref writer, said) =>
        WriteNames(ref writer, Begin(ref writer, 2, said).Message.Survivors));

    /// <summary>Packs a site's signature under the set of survivors.</summary>
    public static byte[] Write(RoundKey round, SurvivorSignature signature) => Pack("survivor-signature:v1", (round, signature), static (ref writer, said) =>
        WriteSignature(ref writer, Begin(ref writer, 2, said).Message));

    /// <summary>Packs the request for the shares that unmask the sum.</summary>
    public static byte[] Write(RoundKey round, UnmaskRequest request) => Pack("unmask-request:v1", (round, request), static (ref writer, said) =>
    {
        var (_, request) = Begin(ref writer, 3, said);
        WriteNames(ref writer, request.Survivors);
        WriteList(ref writer, request.Signatures, MaxSites, WriteSignature);
    });

    /// <summary>Packs the shares that unmask the sum.</summary>
    public static byte[] Write(RoundKey round, UnmaskShares shares) => Pack("unmask-shares:v1", (round, shares), static (ref writer, said) =>
    {
        var (_, shares) = Begin(ref writer, 3, said);
        WriteName(ref writer, shares.Site);
        WriteList(ref writer, shares.Shares, MaxSites, WriteRevealed);
    });

    /// <summary>Unpacks any message, to be told apart by its type.</summary>
    /// <exception cref="InvalidRoundMessageException">It is none that this release knows.</exception>
    public static (RoundKey Round, object Message) Read(ReadOnlyMemory<byte> message) => Unpack(message, static (kind, ref reader) => kind switch
    {
        "secure-plan:v1" => ReadArray<(RoundKey, object)>(ref reader, 8, static (ref said) => (ReadKey(ref said), ReadPlan(ref said))),
        "advertised-keys:v1" => ReadArray<(RoundKey, object)>(ref reader, 2, static (ref said) => (ReadKey(ref said), ReadKeys(ref said))),
        "key-roster:v1" => ReadArray<(RoundKey, object)>(ref reader, 2, static (ref said) => (ReadKey(ref said), new KeyRoster(ReadList(ref said, MaxSites, ReadKeys)))),
        "key-shares:v1" => ReadArray<(RoundKey, object)>(ref reader, 4, static (ref said) =>
            (ReadKey(ref said), new KeyShares(ReadName(ref said), ReadBytes(ref said), ReadList(ref said, MaxSites, ReadSealed)))),
        "share-delivery:v1" => ReadArray<(RoundKey, object)>(ref reader, 3, static (ref said) =>
            (ReadKey(ref said), new ShareDelivery(ReadName(ref said), ReadList(ref said, MaxSites, ReadSealed)))),
        "masked-chunk:v1" => ReadArray<(RoundKey, object)>(ref reader, 4, static (ref said) =>
            (ReadKey(ref said), new MaskedChunk(ReadName(ref said), ReadLong(ref said), ReadValues(ref said)))),
        "survivor-set:v1" => ReadArray<(RoundKey, object)>(ref reader, 2, static (ref said) => (ReadKey(ref said), new SurvivorSet(ReadNames(ref said)))),
        "survivor-signature:v1" => ReadArray<(RoundKey, object)>(ref reader, 2, static (ref said) => (ReadKey(ref said), ReadSignature(ref said))),
        "unmask-request:v1" => ReadArray<(RoundKey, object)>(ref reader, 3, static (ref said) =>
            (ReadKey(ref said), new UnmaskRequest(ReadNames(ref said), ReadList(ref said, MaxSites, ReadSignature)))),
        "unmask-shares:v1" => ReadArray<(RoundKey, object)>(ref reader, 3, static (ref said) =>
            (ReadKey(ref said), new UnmaskShares(ReadName(ref said), ReadList(ref said, MaxSites, ReadRevealed)))),
        _ => Unknown<(RoundKey, object)>(kind),
    });

    /// <summary>Unpacks the message that belongs here.</summary>
    /// <exception cref="InvalidRoundMessageException">It is none, or another one.</exception>
    public static (RoundKey Round, T Message) Read<T>(ReadOnlyMemory<byte> message) => Read(message) is (var round, T expected)
        ? (round, expected)
        : throw new InvalidRoundMessageException($"A message of kind {KindOf(message)} came where {typeof(T).Name} belongs.");

    private static (RoundKey Round, T Message) Begin<T>(ref MessagePackWriter writer, int elements, (RoundKey Round, T Message) said)
    {
        writer.WriteArrayHeader(elements);
        WriteKey(ref writer, said.Round);
        return said;
    }

    private static SecureAggregationPlan ReadPlan(ref MessagePackReader reader)
    {
        try
        {
            var plan = new SecureAggregationPlan(
                ReadBytes(ref reader), ReadName(ref reader), ReadNumber(ref reader, least: 1), ReadNumber(ref reader, least: 1), ReadNumber(ref reader),
                ReadArray(ref reader, 3, static (ref encoding) => new FixedPointEncoding(encoding.ReadInt32(), encoding.ReadSingle(), encoding.ReadInt32())),
                ReadArray(ref reader, 3, static (ref threat) =>
                    new ThreatModel(threat.ReadDouble(), threat.ReadDouble(), (AdversaryClass)ReadNumber(ref threat, most: (int)AdversaryClass.SemiMaliciousServer))));
            plan.Validate();
            return plan;
        }
        catch (SoraException e) when (e is not InvalidRoundMessageException)
        {
            throw new InvalidRoundMessageException($"The plan of a secure round makes no sense: {e.Message}", e);
        }
    }

    private static void WriteKeys(ref MessagePackWriter writer, AdvertisedKeys keys)
    {
        writer.WriteArrayHeader(4);
        WriteName(ref writer, keys.Site);
        WriteBytes(ref writer, keys.EncryptionKey);
        WriteBytes(ref writer, keys.MaskKey);
        WriteBytes(ref writer, keys.Signature);
    }

    private static AdvertisedKeys ReadKeys(ref MessagePackReader reader) => ReadArray(ref reader, 4, static (ref keys) =>
        new AdvertisedKeys(ReadName(ref keys), ReadBytes(ref keys), ReadBytes(ref keys), ReadBytes(ref keys)));

    private static void WriteSealed(ref MessagePackWriter writer, SealedShares shares)
    {
        writer.WriteArrayHeader(3);
        WriteName(ref writer, shares.From);
        WriteName(ref writer, shares.To);
        WriteBytes(ref writer, shares.Box);
    }

    private static SealedShares ReadSealed(ref MessagePackReader reader) =>
        ReadArray(ref reader, 3, static (ref shares) => new SealedShares(ReadName(ref shares), ReadName(ref shares), ReadBytes(ref shares)));

    private static void WriteSignature(ref MessagePackWriter writer, SurvivorSignature signature)
    {
        writer.WriteArrayHeader(2);
        WriteName(ref writer, signature.Site);
        WriteBytes(ref writer, signature.Signature);
    }

    private static SurvivorSignature ReadSignature(ref MessagePackReader reader) =>
        ReadArray(ref reader, 2, static (ref signature) => new SurvivorSignature(ReadName(ref signature), ReadBytes(ref signature)));

    private static void WriteRevealed(ref MessagePackWriter writer, RevealedShare share)
    {
        writer.WriteArrayHeader(3);
        WriteName(ref writer, share.Peer);
        WriteNumber(ref writer, (int)share.Kind, most: (int)ShareKind.MaskKey);
        WriteBytes(ref writer, share.Share);
    }

    private static RevealedShare ReadRevealed(ref MessagePackReader reader) => ReadArray(ref reader, 3, static (ref share) =>
        new RevealedShare(ReadName(ref share), (ShareKind)ReadNumber(ref share, most: (int)ShareKind.MaskKey), ReadBytes(ref share)));

    private static void WriteBytes(ref MessagePackWriter writer, byte[] bytes)
    {
        RequireLength(bytes.Length);
        writer.Write(bytes);
    }

    private static byte[] ReadBytes(ref MessagePackReader reader)
    {
        var bytes = ReadSequence(ref reader);
        RequireLength(bytes.Length);
        return bytes.ToArray();
    }

    private static uint[] ReadValues(ref MessagePackReader reader)
    {
        var bytes = ReadSequence(ref reader);
        if (bytes.Length % sizeof(uint) != 0)
            throw new InvalidRoundMessageException($"A part of a masked input has {bytes.Length} bytes, no multiple of {sizeof(uint)}.");
        var values = new uint[bytes.Length / sizeof(uint)];
        bytes.CopyTo(MemoryMarshal.AsBytes(values.AsSpan()));
        return BitConverter.IsLittleEndian ? values : LittleEndian(values).ToArray();
    }

    private static ReadOnlySpan<uint> LittleEndian(ReadOnlySpan<uint> values)
    {
        if (BitConverter.IsLittleEndian)
            return values;
        var reversed = new uint[values.Length];
        BinaryPrimitives.ReverseEndianness(values, reversed);
        return reversed;
    }

    private static ReadOnlySequence<byte> ReadSequence(ref MessagePackReader reader) =>
        reader.ReadBytes() ?? throw new InvalidRoundMessageException("A message has nothing where bytes belong.");

    private static void RequireLength(long length)
    {
        if (length > MaxSecretBytes)
            throw new InvalidRoundMessageException($"A message has a key, share or signature of {length} bytes; at most {MaxSecretBytes} are taken.");
    }
}
