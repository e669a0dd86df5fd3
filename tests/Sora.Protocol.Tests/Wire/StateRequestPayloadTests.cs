using CsCheck;
using Sora.Protocol.Wire;

namespace Sora.Protocol.Tests.Wire;

public class StateRequestPayloadTests
{
    [Fact]
    public void What_is_written_is_read()
    {
        Gen.Select(Gen.Long[0, 1L << 50], Gen.Int[1, FrameCodec.MaxPayloadBytes], Gen.Long[0, 1L << 50]).Sample((offset, length, rest) =>
            Assert.Equal((offset + length + rest, length), StateRequestPayload.Read(StateRequestPayload.Write(offset + length + rest, length), offset)));
    }

    [Theory]
    [InlineData(100, 0, 0)]
    [InlineData(100, -1, 0)]
    [InlineData(100, 51, 50)]
    [InlineData(100, 1, long.MaxValue)]
    [InlineData(long.MinValue, 1, 0)]
    [InlineData(long.MaxValue, FrameCodec.MaxPayloadBytes + 1, 0)]
    public void What_no_state_has_is_not_asked_for(long stateBytes, int length, long offset) =>
        Assert.Throws<InvalidFrameException>(() => StateRequestPayload.Read(StateRequestPayload.Write(stateBytes, length), offset));

    [Fact]
    public void Random_bytes_are_refused_and_never_anything_worse()
    {
        Gen.Byte.Array[0, 30].Sample(bytes =>
        {
            var error = Record.Exception(() => StateRequestPayload.Read(bytes, 0));
            Assert.True(error is null or InvalidFrameException, error?.ToString());
        });
    }
}
