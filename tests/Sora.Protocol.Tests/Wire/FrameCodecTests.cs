using CsCheck;
using Sora.Protocol.Generations;
using Sora.Protocol.Wire;

namespace Sora.Protocol.Tests.Wire;

public class FrameCodecTests
{
    private static readonly Gen<FrameHeader> Headers =
        from run in Gen.ULong
        from generation in Gen.Long[0, long.MaxValue]
        from sequence in Gen.Long[0, long.MaxValue]
        from step in Gen.Long[0, long.MaxValue]
        from phase in Gen.OneOfConst(Enum.GetValues<ExchangePhase>())
        from chunk in Gen.Int[0, int.MaxValue]
        from first in Gen.Int[0, int.MaxValue]
        from count in Gen.Int[0, int.MaxValue]
        from offset in Gen.Long[0, long.MaxValue]
        select new FrameHeader(run, generation, sequence, step, phase, chunk, new LaneRange(first, count), offset, 0);

    private static readonly Gen<(FrameHeader Header, byte[] Payload)> Frames =
        Gen.Select(Headers, Gen.Byte.Array[0, 300], (header, payload) => (header with { PayloadBytes = payload.Length }, payload));

    [Fact]
    public void What_is_written_is_read()
    {
        Frames.Sample(frame =>
        {
            var (header, crc) = FrameCodec.ReadHead(Head(frame));
            FrameCodec.CheckPayload(frame.Payload, crc);
            Assert.Equal(frame.Header, header);
        });
    }

    [Fact]
    public void Any_flipped_bit_is_detected()
    {
        Gen.Select(Frames, Gen.Int[0, int.MaxValue]).Sample((frame, bit) =>
        {
            var bytes = Head(frame).Concat(frame.Payload).ToArray();
            bit %= bytes.Length * 8;
            bytes[bit / 8] ^= (byte)(1 << (bit % 8));
            Assert.Throws<InvalidFrameException>(() =>
            {
                var (_, crc) = FrameCodec.ReadHead(bytes.AsMemory(0, FrameCodec.HeadBytes));
                FrameCodec.CheckPayload(bytes.AsSpan(FrameCodec.HeadBytes), crc);
            });
        });
    }

    [Fact]
    public void Blocks_of_a_payload_in_another_order_are_detected()
    {
        var payload = Enumerable.Range(0, 1024).Select(i => (byte)(i / 256)).ToArray();
        var (_, crc) = FrameCodec.ReadHead(Head((Plain with { PayloadBytes = payload.Length }, payload)));
        Assert.Throws<InvalidFrameException>(() => FrameCodec.CheckPayload([.. payload[256..], .. payload[..256]], crc));
    }

    [Fact]
    public void A_truncated_head_is_refused()
    {
        Gen.Select(Frames, Gen.Int[0, FrameCodec.HeadBytes - 1]).Sample((frame, length) =>
        {
            Assert.Throws<InvalidFrameException>(() => FrameCodec.ReadHead(Head(frame).AsMemory(0, length)));
        });
    }

    [Fact]
    public void Random_bytes_are_refused_and_never_anything_worse()
    {
        Gen.Byte.Array[FrameCodec.HeadBytes].Sample(bytes => Assert.Throws<InvalidFrameException>(() => FrameCodec.ReadHead(bytes)));
    }

    [Fact]
    public void Random_headers_under_a_valid_checksum_are_refused_or_read()
    {
        Gen.Select(Frames, Gen.Byte.Array[1, 40], Gen.Int[0, 60]).Sample((frame, noise, at) =>
        {
            var head = Head(frame);
            noise.CopyTo(head, 16 + at);
            Seal(head);
            var error = Xunit.Record.Exception(() => FrameCodec.ReadHead(head));
            Assert.True(error is null or InvalidFrameException, error?.ToString());
        });
    }

    [Theory, InlineData(uint.MaxValue), InlineData((uint)FrameCodec.MaxPayloadBytes + 1), InlineData(1u << 31)]
    public void A_hostile_length_is_refused_from_the_head_alone(uint length)
    {
        var head = Head((Plain, []));
        BitConverter.TryWriteBytes(head.AsSpan(8), length);
        Seal(head);
        var error = Assert.Throws<InvalidFrameException>(() => FrameCodec.ReadHead(head));
        Assert.Contains(length.ToString(), error.Message);
    }

    [Fact]
    public void An_unknown_type_is_refused_by_number()
    {
        var head = Head((Plain with { Phase = (ExchangePhase)77 }, []));
        Assert.Contains("77", Assert.Throws<InvalidFrameException>(() => FrameCodec.ReadHead(head)).Message);
    }

    [Fact]
    public void Another_protocol_version_is_refused_with_both_numbers()
    {
        var head = Head((Plain, []));
        head[4] = 9;
        Seal(head);
        Assert.Contains("protocol 9, this worker 2", Assert.Throws<InvalidFrameException>(() => FrameCodec.ReadHead(head)).Message);
    }

    [Fact]
    public void An_oversized_payload_is_not_sent()
    {
        var payload = new byte[FrameCodec.MaxPayloadBytes + 1];
        Assert.Throws<ArgumentOutOfRangeException>(() => Head((Plain with { PayloadBytes = payload.Length }, payload)));
    }

    private static FrameHeader Plain => new(1, 1, 0, 0, ExchangePhase.Totals, 0, default, 0, 0);

    private static byte[] Head((FrameHeader Header, byte[] Payload) frame)
    {
        var head = new byte[FrameCodec.HeadBytes];
        FrameCodec.WriteHead(frame.Header, frame.Payload, head);
        return head;
    }

    /// <summary>Gives a changed head a valid checksum, as a hostile sender would.</summary>
    private static void Seal(byte[] head) =>
        System.IO.Hashing.Crc32.Hash(head.AsSpan(0, FrameCodec.HeadBytes - 4), head.AsSpan(FrameCodec.HeadBytes - 4));
}
