using System.Runtime.InteropServices;

namespace Sora.Worker.Exchange;

/// <summary>An aligned fp32 buffer outside the managed heap.</summary>
internal sealed unsafe class NativeFloats(long length) : IDisposable
{
    private const nuint CacheLine = 64;
    private nint _address = (nint)NativeMemory.AlignedAlloc((nuint)Math.Max(1, length) * sizeof(float), CacheLine);

    public nint Address => _address;

    public void Dispose() => NativeMemory.AlignedFree((void*)Interlocked.Exchange(ref _address, 0));
}
