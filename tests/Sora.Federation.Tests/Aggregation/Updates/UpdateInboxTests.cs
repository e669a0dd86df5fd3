using Sora.Federation.Aggregation;
using Sora.Federation.Aggregation.Updates;

namespace Sora.Federation.Tests.Aggregation.Updates;

public sealed class UpdateInboxTests : IDisposable
{
    private const int Parameters = 1000;
    private readonly RoundFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Fact]
    public void Chunks_in_any_order_make_the_update_that_was_sent()
    {
        foreach (var encoding in Enum.GetValues<UpdateEncoding>())
        {
            using var folder = new RoundFolder();
            var values = RoundTesting.Values(1, Parameters);
            var update = folder.Encode("a", values, 5, encoding: encoding, chunkBytes: 300);
            var inbox = UpdateInbox.Open(folder.Server, Parameters, Terms(0));
            Assert.Equal(ReceiptKind.Accepted, inbox.Announce(update.Manifest).Kind);
            for (var chunk = update.Manifest.Chunks - 1; chunk > 0; chunk--)
                Assert.Equal(Receipt.Accepted, inbox.Send(update, chunk));
            Assert.Empty(inbox.Whole);
            Assert.Equal(Receipt.Whole, inbox.Send(update, 0));

            var whole = Assert.Single(inbox.Whole);
            var read = new float[Parameters];
            whole.Read(0, read);
            var encoded = new byte[UpdateCodec.EncodedBytes(encoding, Parameters)];
            var expected = new float[Parameters];
            UpdateCodec.Encode(encoding, values, 0, encoded);
            UpdateCodec.Decode(encoding, encoded, 0, expected);
            Assert.Equal(expected, read);
            Assert.Equal(Math.Sqrt(expected.Sum(value => (double)value * value)), whole.Norm, 1e-12);
            var part = new float[300];
            whole.Read(111, part);
            Assert.Equal(expected[111..411], part);
        }
    }

    [Fact]
    public void Missing_tells_the_ranges_to_send()
    {
        var update = _folder.Encode("a", RoundTesting.Values(1, Parameters)); // 4000 bytes: 8 chunks
        var inbox = Open();
        inbox.Announce(update.Manifest);
        foreach (var chunk in new[] { 1, 2, 5 })
            inbox.Send(update, chunk);
        Assert.Equal([new(0, 1), new(3, 2), new(6, 2)], inbox.Missing("a"));
        Assert.Equal(["a"], inbox.Arriving);
    }

    [Fact]
    public void Opened_again_after_a_crash_it_knows_what_had_arrived()
    {
        var (first, second) = (_folder.Encode("a", RoundTesting.Values(1, Parameters)), _folder.Encode("b", RoundTesting.Values(2, Parameters)));
        var inbox = Open();
        inbox.Announce(first.Manifest);
        inbox.Announce(second.Manifest);
        for (var chunk = 0; chunk < 8; chunk++)
            inbox.Send(first, chunk);
        inbox.Send(second, 6);

        inbox = Open();
        Assert.Equal(["a"], inbox.Whole.Select(update => update.Site));
        Assert.Equal([new(0, 6), new(7, 1)], inbox.Missing("b"));
        Assert.Equal(ReceiptKind.Accepted, inbox.Announce(second.Manifest).Kind);
        foreach (var chunk in new[] { 0, 1, 2, 3, 4, 5, 7 })
            inbox.Send(second, chunk);
        Assert.Equal(["a", "b"], inbox.Whole.Select(update => update.Site));
    }

    [Fact]
    public void A_chunk_torn_by_a_crash_is_asked_for_again()
    {
        var update = _folder.Encode("a", RoundTesting.Values(1, Parameters));
        var inbox = Open();
        inbox.Announce(update.Manifest);
        inbox.Send(update, 0);
        inbox.Send(update, 1);
        var part = Assert.Single(Directory.GetFiles(_folder.Server, "*.part"));
        using (var file = File.OpenWrite(part))
        {
            file.Position = 600;
            file.WriteByte(0xAB);
        }
        Assert.Equal([new(1, 7)], Open().Missing("a"));
    }

    [Fact]
    public void The_same_chunk_twice_is_harmless_and_other_content_refused()
    {
        var update = _folder.Encode("a", RoundTesting.Values(1, Parameters));
        var other = _folder.Encode("a", RoundTesting.Values(2, Parameters));
        var inbox = Open();
        inbox.Announce(update.Manifest);
        Assert.Equal(Receipt.Accepted, inbox.Send(update, 3));
        Assert.Equal(Receipt.Accepted, inbox.Send(update, 3));
        Assert.Contains("SHA-256", inbox.Send(other, 3).Reason);
        Assert.Contains("SHA-256", inbox.Send(other, 4).Reason);
        Assert.Contains("another update", inbox.Announce(other.Manifest).Reason);
        for (var chunk = 0; chunk < 8; chunk++)
            inbox.Send(update, chunk);
        Assert.Equal(Receipt.Whole, inbox.Send(update, 3));
        Assert.Contains("SHA-256", inbox.Send(other, 3).Reason);
        Assert.Contains("already sent another", inbox.Announce(other.Manifest).Reason);
    }

    [Fact]
    public void A_site_that_gives_up_may_announce_another_update()
    {
        var (update, other) = (_folder.Encode("a", RoundTesting.Values(1, Parameters)), _folder.Encode("a", RoundTesting.Values(2, Parameters)));
        var inbox = Open();
        inbox.Announce(update.Manifest);
        inbox.Send(update, 0);
        inbox.Withdraw("a");
        Assert.Empty(Directory.GetFiles(_folder.Server));
        Assert.Equal(Receipt.Accepted, inbox.Announce(other.Manifest));
    }

    [Fact]
    public void Announcements_that_do_not_fit_the_round_are_refused_with_the_reason()
    {
        var inbox = UpdateInbox.Open(_folder.Server, Parameters, Terms() with { MaxWeight = 100, Encodings = [UpdateEncoding.Float32] });
        Assert.Contains("not asked", Announce(_folder.Encode("stranger", RoundTesting.Values(1, Parameters))));
        Assert.Contains("is of round 6", Announce(_folder.Encode("a", RoundTesting.Values(1, Parameters), round: 6)));
        Assert.Contains("is of round 8", Announce(_folder.Encode("a", RoundTesting.Values(1, Parameters), round: 8)));
        Assert.Contains("has 999 parameters", Announce(Of(999)));
        Assert.Contains("weight of 101", Announce(Of(Parameters, 101)));
        Assert.Contains("weight of 1e-09", Announce(Of(Parameters, 1e-9)));
        Assert.Contains("no updates encoded as Int8", Announce(_folder.Encode("a", RoundTesting.Values(1, Parameters), round: 7, encoding: UpdateEncoding.Int8)));
        Assert.Empty(Directory.GetFiles(_folder.Server));

        string? Announce(EncodedUpdate update) => inbox.Announce(update.Manifest).Reason;
        EncodedUpdate Of(int parameters, double weight = 1) => _folder.Encode("a", RoundTesting.Values(1, parameters), weight, round: 7);
    }

    [Fact]
    public void Chunks_that_do_not_fit_their_update_are_refused_with_the_reason()
    {
        var update = _folder.Encode("a", RoundTesting.Values(1, Parameters));
        var inbox = Open();
        Assert.Contains("announced no update", inbox.Send(update, 0).Reason);
        inbox.Announce(update.Manifest);
        var chunk = update.ReadChunk(0);
        Assert.Contains("is of round 3", inbox.Accept("a", 3, 0, 0, chunk).Reason);
        Assert.Contains("does not exist", inbox.Accept("a", 0, 8, 8 * 512, chunk).Reason);
        Assert.Contains("does not exist", inbox.Accept("a", 0, -1, 0, chunk).Reason);
        Assert.Contains("at 512", inbox.Accept("a", 0, 0, 512, chunk).Reason);
        Assert.Contains("511 bytes", inbox.Accept("a", 0, 0, 0, chunk.AsSpan(1)).Reason);
        Assert.Contains("513 bytes", inbox.Accept("a", 0, 0, 0, [.. chunk, 0]).Reason);
        Assert.Equal([new(0, 8)], inbox.Missing("a"));
    }

    [Theory]
    [InlineData(float.NaN)]
    [InlineData(float.NegativeInfinity)]
    [InlineData(70000f)]
    public void A_whole_update_with_a_value_that_nothing_can_be_made_of_is_rejected(float value)
    {
        var values = RoundTesting.Values(1, Parameters);
        values[17] = value;
        var update = Forged("a", values);
        var inbox = Open();
        inbox.Announce(update.Manifest);
        Receipt last = Receipt.Accepted;
        for (var chunk = 0; chunk < update.Manifest.Chunks; chunk++)
            last = inbox.Accept("a", 0, chunk, update.Manifest.ChunkOffset(chunk), update.Bytes.AsSpan((int)update.Manifest.ChunkOffset(chunk), update.Manifest.ChunkLength(chunk)));
        Assert.Equal(ReceiptKind.Refused, last.Kind);
        var rejected = Assert.Single(inbox.Rejected);
        Assert.Equal("a", rejected.Site);
        Assert.Contains("arameter 17", rejected.Reason);
        Assert.Empty(inbox.Whole);
        Assert.Equal(rejected.Reason, inbox.Announce(update.Manifest).Reason);
        Assert.Empty(Directory.GetFiles(_folder.Server));
    }

    [Fact]
    public void Names_of_sites_never_reach_the_file_system()
    {
        const string Name = "../../etc/passwd";
        var update = EncodedUpdate.Create(Path.Combine(_folder.Sites, "x"), Name, 0, 1, RoundTesting.Values(1, Parameters));
        var inbox = UpdateInbox.Open(_folder.Server, Parameters, RoundTesting.Terms(0, Name));
        Assert.Equal(Receipt.Accepted, inbox.Announce(update.Manifest));
        Assert.Equal(Receipt.Whole, inbox.Send(update, 0));
        Assert.All(Directory.GetFiles(_folder.Server), file => Assert.DoesNotContain("passwd", file));
    }

    [Fact]
    public void Many_large_updates_in_flight_stay_out_of_memory()
    {
        const int Many = 24, Large = 500_000; // 2 MB each, 48 MB together
        var sites = Enumerable.Range(0, Many).Select(i => $"site-{i:00}").ToList();
        var updates = sites.Select((site, i) => _folder.Encode(site, RoundTesting.Values(i, Large), chunkBytes: 1 << 18)).ToList();
        var inbox = UpdateInbox.Open(_folder.Server, Large, RoundTesting.Terms(0, sites));
        updates.ForEach(update => inbox.Announce(update.Manifest));
        var before = GC.GetTotalMemory(forceFullCollection: true);
        for (var chunk = 0; chunk < 7; chunk++)
            updates.ForEach(update => inbox.Send(update, chunk));
        var held = GC.GetTotalMemory(forceFullCollection: true) - before;
        Assert.Equal(Many, inbox.Arriving.Count);
        Assert.True(held < 16 << 20, $"{held} bytes are held for 42 MB in flight");
    }

    private static RoundTerms Terms(long round = 7) => RoundTesting.Terms(round, "a", "b") with { MaxStaleness = 0 };

    private UpdateInbox Open() => UpdateInbox.Open(_folder.Server, Parameters, Terms(0));

    /// <summary>What a site that does not check its own numbers would send.</summary>
    private static (UpdateManifest Manifest, byte[] Bytes) Forged(string site, float[] values)
    {
        var bytes = System.Runtime.InteropServices.MemoryMarshal.AsBytes<float>(values).ToArray();
        var chunks = bytes.Chunk(512).SelectMany(chunk => System.Security.Cryptography.SHA256.HashData(chunk)).ToArray();
        return (new UpdateManifest(site, 0, values.Length, 1, UpdateEncoding.Float32, 512, System.Security.Cryptography.SHA256.HashData(bytes), chunks), bytes);
    }
}
