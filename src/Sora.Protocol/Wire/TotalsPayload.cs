using System.Buffers;
using MessagePack;
using Sora.Protocol.Exchange;
using Sora.Protocol.Generations;

namespace Sora.Protocol.Wire;

/// <summary>A worker's bookkeeping of one step, as it travels: <c>[stop requested, lane, loss sum, target tokens, lane, ...]</c>.</summary>
public static class TotalsPayload
{
    /// <summary>Packs the entries of the lanes a worker owns.</summary>
    public static byte[] Write(ReadOnlySpan<LaneTotals> totals, bool stopRequested)
    {
        var buffer = new ArrayBufferWriter<byte>(16 + 24 * totals.Length);
        var writer = new MessagePackWriter(buffer);
        writer.WriteArrayHeader(1 + 3 * totals.Length);
        writer.Write(stopRequested);
        foreach (var lane in totals)
        {
            writer.Write(lane.Lane);
            writer.Write(lane.LossSum);
            writer.Write(lane.TargetTokens);
        }
        writer.Flush();
        return buffer.WrittenSpan.ToArray();
    }

    /// <summary>Unpacks the entries of exactly the lanes <paramref name="lanes"/>, in order.</summary>
    /// <exception cref="InvalidFrameException">The payload is malformed or speaks of other lanes.</exception>
    public static (LaneTotals[] Totals, bool StopRequested) Read(ReadOnlyMemory<byte> payload, LaneRange lanes)
    {
        var reader = new MessagePackReader(payload);
        try
        {
            var fields = reader.ReadArrayHeader();
            if (fields != 1 + 3 * (long)lanes.Count)
                throw new InvalidFrameException($"Totals of {lanes.Count} lanes have {fields} fields instead of {1 + 3 * (long)lanes.Count}.");
            var stopRequested = reader.ReadBoolean();
            var totals = new LaneTotals[lanes.Count];
            for (var i = 0; i < totals.Length; i++)
            {
                totals[i] = new LaneTotals(reader.ReadInt32(), reader.ReadDouble(), reader.ReadInt64());
                if (totals[i].Lane != lanes.First + i)
                    throw new InvalidFrameException($"Totals of lane {totals[i].Lane} came where lane {lanes.First + i} belongs.");
            }
            if (!reader.End)
                throw new InvalidFrameException("Totals go on after the last lane.");
            return (totals, stopRequested);
        }
        catch (Exception e) when (e is MessagePackSerializationException or EndOfStreamException or OverflowException)
        {
            throw new InvalidFrameException("Totals are not what this protocol writes: " + e.Message, e);
        }
    }
}
