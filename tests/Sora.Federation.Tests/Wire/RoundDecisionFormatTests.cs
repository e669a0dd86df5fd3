using System.Buffers;
using CsCheck;
using MessagePack;
using Sora.Federation.Rounds;
using Sora.Federation.Wire;

namespace Sora.Federation.Tests.Wire;

public sealed class RoundDecisionFormatTests
{
    [Fact]
    public void A_coordinators_journal_is_read_as_it_was_written() => WireValues.Decision.Sample(decision =>
    {
        var manifest = RoundDecisionFormat.Manifest(decision);

        Assert.Equal(WireValues.Shown(decision), WireValues.Shown(Read(manifest, Write(decision))));
        Assert.True(RoundDecisionFormat.Knows(manifest));
        Assert.Equal(decision is FederationEnded, RoundDecisionFormat.EndsRun(manifest));
    }, iter: 1000);

    [Fact]
    public void A_sites_journal_is_read_as_it_was_written() =>
        WireValues.SiteDecision.Sample(decision => Assert.Equal(decision, SiteDecisionFormat.Read(SiteDecisionFormat.Write(decision))), iter: 1000);

    [Fact]
    public void The_names_of_an_abandoned_round_are_sorted_as_the_state_machine_sorts_them()
    {
        var decision = new RoundAbandoned(new RoundKey(1, 1), "", [.. new[] { "a", "B" }], []);

        var read = (RoundAbandoned)Read("round-abandoned:v1", Write(decision));

        Assert.Same(StringComparer.Ordinal, read.Missing.KeyComparer);
        Assert.Equal(["B", "a"], read.Missing);
    }

    [Fact]
    public void A_text_in_the_journal_is_kept_whole()
    {
        var decision = new FederationStopDecided(new string('x', 100_000));

        Assert.Equal(decision, Read("federation-stop-decided:v1", Write(decision)));
    }

    internal static byte[] Write(RoundDecision decision)
    {
        var buffer = new ArrayBufferWriter<byte>();
        var writer = new MessagePackWriter(buffer);
        RoundDecisionFormat.Write(ref writer, decision);
        writer.Flush();
        return buffer.WrittenSpan.ToArray();
    }

    internal static RoundDecision Read(string manifest, ReadOnlyMemory<byte> packed)
    {
        var reader = new MessagePackReader(packed);
        return RoundDecisionFormat.Read(manifest, ref reader);
    }
}
