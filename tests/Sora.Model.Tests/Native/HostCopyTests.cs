using System.Runtime.InteropServices;
using Sora.Model.Native;

namespace Sora.Model.Tests.Native;

public sealed unsafe class HostCopyTests
{
    [Theory]
    [InlineData(0, 0)]
    [InlineData(127, 0)]
    [InlineData(1000, 0)]
    [InlineData(1000, 4)]
    [InlineData((8 << 20) + 12, 0)]
    [InlineData((8 << 20) + 300, 4)]
    public void Copy_AnyLengthAndPlace_CopiesThatAndNoMore(int bytes, int offset)
    {
        void* from = NativeMemory.AlignedAlloc((nuint)bytes + 64, 64), to = NativeMemory.AlignedAlloc((nuint)bytes + 64, 64);
        try
        {
            Span<byte> source = new(from, bytes + 64), target = new(to, bytes + 64);
            new Random(bytes).NextBytes(source);
            target.Clear();
            HostCopy.Copy((nint)from + offset, (nint)to + offset, bytes);
            Assert.True(source.Slice(offset, bytes).SequenceEqual(target.Slice(offset, bytes)));
            Assert.Equal(-1, target[..offset].IndexOfAnyExcept((byte)0));
            Assert.Equal(-1, target[(offset + bytes)..].IndexOfAnyExcept((byte)0));
        }
        finally
        {
            NativeMemory.AlignedFree(from);
            NativeMemory.AlignedFree(to);
        }
    }
}
