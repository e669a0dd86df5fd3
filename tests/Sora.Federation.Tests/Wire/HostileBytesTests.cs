using CsCheck;
using Sora.Federation.Rounds;
using Sora.Federation.Wire;

namespace Sora.Federation.Tests.Wire;

/// <summary>Whatever comes: it is read, or one exception says that it is none of ours.</summary>
public sealed class HostileBytesTests
{
    private static readonly Action<byte[]>[] Readers =
    [
        bytes => RoundMessageFormat.ReadToSite(bytes),
        bytes => RoundMessageFormat.ReadFromSite(bytes),
        bytes => SiteDecisionFormat.Read(bytes),
        bytes => FederatedRunFormat.Read(bytes),
        bytes => SecureMessageFormat.Read(bytes),
    ];

    /// <summary>A message of each family, and its reader.</summary>
    private static readonly Gen<(byte[] Bytes, Action<byte[]> Read)> Messages = Gen.OneOf(
        WireValues.ToSite.Select(said => (RoundMessageFormat.Write(said), Readers[0])),
        WireValues.FromSite.Select(said => (RoundMessageFormat.Write(said), Readers[1])),
        WireValues.SiteDecision.Select(decision => (SiteDecisionFormat.Write(decision), Readers[2])),
        WireValues.Run.Select(run => (FederatedRunFormat.Write(run), Readers[3])),
        Gen.Select(WireValues.Key, SecureValues.Message).Select((round, said) => (SecureValues.Write(round, said), Readers[4])),
        WireValues.Decision.Select(decision =>
            (RoundDecisionFormatTests.Write(decision), (Action<byte[]>)(bytes => RoundDecisionFormatTests.Read(RoundDecisionFormat.Manifest(decision), bytes)))));

    [Fact]
    public void Random_bytes_are_refused() => Gen.Select(Gen.Byte.Array[0, 200], Gen.Int[0, Readers.Length - 1]).Sample((bytes, reader) =>
    {
        Assert.Throws<InvalidRoundMessageException>(() => Readers[reader](bytes));
        Assert.False(RoundMessageFormat.Knows(bytes));
    }, iter: 2000);

    [Fact]
    public void A_message_that_was_cut_short_is_refused() => Gen.Select(Messages, Gen.Int[0, int.MaxValue]).Sample((message, length) =>
        Assert.Throws<InvalidRoundMessageException>(() => message.Read(message.Bytes[..(length % message.Bytes.Length)])), iter: 2000);

    [Fact]
    public void A_message_with_other_bytes_in_it_is_read_or_refused() =>
        Gen.Select(Messages, Gen.Select(Gen.Int[0, int.MaxValue], Gen.Byte).Array[1, 4]).Sample((message, changes) =>
        {
            var bytes = message.Bytes.ToArray();
            foreach (var (place, value) in changes)
                bytes[place % bytes.Length] = value;
            ReadOrRefuse(message.Read, bytes);
        }, iter: 5000);

    [Fact]
    public void A_part_of_a_message_in_the_place_of_another_is_read_or_refused() =>
        Gen.Select(Messages, Messages, Gen.Int[0, int.MaxValue], Gen.Int[0, int.MaxValue]).Sample((one, other, cut, from) =>
            ReadOrRefuse(one.Read, [.. one.Bytes[..(cut % one.Bytes.Length)], .. other.Bytes[(from % other.Bytes.Length)..]]), iter: 2000);

    [Fact]
    public void A_message_that_goes_on_after_its_end_is_refused() =>
        Gen.Select(WireValues.FromSite, Gen.Byte.Array[1, 20]).Sample((said, more) =>
            Assert.Throws<InvalidRoundMessageException>(() => RoundMessageFormat.ReadFromSite((byte[])[.. RoundMessageFormat.Write(said), .. more])), iter: 200);

    [Fact]
    public void Elements_that_a_later_release_appended_are_skipped()
    {
        // nil, a map with an array in it, an extension, a text.
        byte[][] later = [[0xc0], [0x81, 0xa1, (byte)'k', 0x92, 0x01, 0x90], [0xd4, 0x01, 0x02], [0xa2, (byte)'h', (byte)'i']];
        WireValues.FromSite.Sample(said =>
        {
            var message = RoundMessageFormat.Write(said);
            foreach (var element in later)
                Assert.Equal(said, RoundMessageFormat.ReadFromSite(WithOneMore(message, element)));
        }, iter: 200);
        WireValues.Decision.Sample(decision =>
        {
            var packed = RoundDecisionFormatTests.Write(decision);
            packed[0]++;
            Assert.Equal(WireValues.Shown(decision), WireValues.Shown(RoundDecisionFormatTests.Read(RoundDecisionFormat.Manifest(decision), (byte[])[.. packed, .. later[1]])));
        }, iter: 200);
    }

    [Fact]
    public void Arrays_in_arrays_do_not_exhaust_the_stack()
    {
        var message = RoundMessageFormat.Write(new SiteDraining("fed-1"));
        var tower = Enumerable.Repeat((byte)0x91, 3_000_000).Append((byte)0xc0).ToArray();

        Assert.Equal(new SiteDraining("fed-1"), RoundMessageFormat.ReadFromSite(WithOneMore(message, tower)));
        ReadOrRefuse(Readers[1], tower);
        // Arrays that hold a map, whose key and value are arrays again, and so on until the bytes end.
        byte[] thicket = [.. Enumerable.Repeat((byte[])[0x91, 0x81], 1_500_000).SelectMany(pair => pair)];
        Assert.Throws<InvalidRoundMessageException>(() => RoundMessageFormat.ReadFromSite(WithOneMore(message, thicket)));
    }

    [Fact]
    public void A_length_beyond_the_end_takes_no_memory()
    {
        var opened = new StageOpened("fed-1", new RoundKey(1, 1), SecureStage.Unmask, [], TimeSpan.Zero);
        var message = RoundMessageFormat.Write(opened);
        byte[] endless = [0xdd, 0x7f, 0xff, 0xff, 0xff];
        byte[] bytes = [.. message[..^2], .. endless, message[^1]];

        var before = GC.GetAllocatedBytesForCurrentThread();
        Assert.Throws<InvalidRoundMessageException>(() => RoundMessageFormat.ReadToSite(bytes));
        Assert.InRange(GC.GetAllocatedBytesForCurrentThread() - before, 0, 1 << 20);
    }

    [Theory]
    [InlineData(0xdb)]
    [InlineData(0xc6)]
    [InlineData(0xc9)]
    [InlineData(0xdd)]
    [InlineData(0xdf)]
    public void A_text_an_array_or_the_like_of_gigabytes_is_refused(byte type)
    {
        var hello = RoundMessageFormat.Write(new SiteDraining("fed-1"));
        foreach (var length in (uint[])[uint.MaxValue, 1u << 31, int.MaxValue, 100])
        {
            byte[] huge = [type, (byte)(length >> 24), (byte)(length >> 16), (byte)(length >> 8), (byte)length];
            Assert.Throws<InvalidRoundMessageException>(() => RoundMessageFormat.ReadFromSite(WithOneMore(hello, huge)));
            Assert.Throws<InvalidRoundMessageException>(() => RoundMessageFormat.ReadFromSite((byte[])[.. hello[..^6], .. huge]));
            Assert.All(Readers, read => Assert.Throws<InvalidRoundMessageException>(() => read(huge)));
        }
    }

    [Fact]
    public void A_message_that_is_too_long_is_refused_before_it_is_looked_at() =>
        Assert.All(Readers, read => Assert.Throws<InvalidRoundMessageException>(() => read(new byte[Packing.MaxBytes + 1])));

    [Fact]
    public void Numbers_that_would_break_the_round_protocol_are_refused()
    {
        var hash = new string('0', 64);
        var announced = new RoundAnnounced("fed-1", new RoundKey(1, 1), new ModelVersion(0, hash), 1, 0, TimeSpan.FromSeconds(1), new ChunkLayout(10, 5), false);
        ToSite[] wrong =
        [
            announced with { Round = default },
            announced with { Round = new RoundKey(1, 0) },
            announced with { Model = new ModelVersion(-1, hash) },
            announced with { Model = new ModelVersion(0, "abc") },
            announced with { Model = new ModelVersion(0, hash.Replace('0', 'A')) },
            announced with { LocalSteps = -1 },
            announced with { Deadline = TimeSpan.FromTicks(-1) },
            announced with { Chunks = new ChunkLayout(10, 0) },
            announced with { Chunks = new ChunkLayout(0, 10) },
            announced with { Chunks = new ChunkLayout(1L << 40, 1) },
            announced with { Chunks = new ChunkLayout(long.MaxValue, int.MaxValue) },
            new UploadFrom("fed-1", new UpdateId(new RoundKey(1, 1), "a", hash), -1),
            new StageOpened("fed-1", new RoundKey(1, 1), (SecureStage)5, [], TimeSpan.Zero),
            new Dismissed("fed-1", "", 256),
        ];

        Assert.All(wrong, said => Assert.Throws<InvalidRoundMessageException>(() => RoundMessageFormat.Write(said)));
    }

    /// <summary>An element behind those of the body, which is the last thing in a message and here has fewer than 15.</summary>
    private static byte[] WithOneMore(byte[] message, byte[] element)
    {
        var kind = message[1] == 0xd9 ? 2 + message[2] : 1 + (message[1] & 0x1f);
        var longer = (byte[])[.. message, .. element];
        longer[1 + kind]++;
        return longer;
    }

    private static void ReadOrRefuse(Action<byte[]> read, byte[] bytes)
    {
        try
        {
            read(bytes);
        }
        catch (InvalidRoundMessageException)
        {
            // Refused.
        }
    }
}
