using CsCheck;
using Sora.Protocol.Exchange;
using Sora.Protocol.Generations;
using Sora.Protocol.Wire;

namespace Sora.Protocol.Tests.Wire;

public class TotalsPayloadTests
{
    private static readonly Gen<(LaneTotals[] Totals, bool Stop)> Payloads =
        from first in Gen.Int[0, 1000]
        from values in Gen.Select(Gen.Double, Gen.Long).Array[1, 20]
        from stop in Gen.Bool
        select (values.Select((value, i) => new LaneTotals(first + i, value.Item1, value.Item2)).ToArray(), stop);

    [Fact]
    public void What_is_written_is_read_to_the_last_bit()
    {
        Payloads.Sample(sent =>
        {
            var (totals, stop) = TotalsPayload.Read(TotalsPayload.Write(sent.Totals, sent.Stop), Lanes(sent.Totals));
            Assert.Equal(sent.Stop, stop);
            Assert.Equal(sent.Totals, totals);
        });
    }

    [Fact]
    public void Totals_of_other_lanes_are_refused()
    {
        Payloads.Sample(sent =>
        {
            var lanes = Lanes(sent.Totals);
            var payload = TotalsPayload.Write(sent.Totals, sent.Stop);
            Assert.Throws<InvalidFrameException>(() => TotalsPayload.Read(payload, lanes with { First = lanes.First + 1 }));
            Assert.Throws<InvalidFrameException>(() => TotalsPayload.Read(payload, lanes with { Count = lanes.Count + 1 }));
        });
    }

    [Fact]
    public void Truncated_or_random_bytes_are_refused()
    {
        Gen.Select(Payloads, Gen.Int[0, 1000]).Sample((sent, length) =>
        {
            var payload = TotalsPayload.Write(sent.Totals, sent.Stop);
            Assert.Throws<InvalidFrameException>(() => TotalsPayload.Read(payload.AsMemory(0, length % payload.Length), Lanes(sent.Totals)));
        });
        Gen.Byte.Array[0, 64].Sample(bytes => Assert.Throws<InvalidFrameException>(() => TotalsPayload.Read(bytes, new LaneRange(0, 30))));
    }

    private static LaneRange Lanes(LaneTotals[] totals) => new(totals[0].Lane, totals.Length);
}
