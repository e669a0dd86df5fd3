using System.Numerics;
using System.Runtime.InteropServices;

namespace Sora.Protocol.Wire;

/// <summary>
/// Checksum of a payload: CRC32C (Castagnoli) of its four quarters, then of the four results. The processor's instruction
/// takes three cycles but can begin one each cycle, so four quarters side by side run as fast as memory delivers; a CRC over
/// the whole in one go would take longer than the sockets. Any damage within one quarter of up to 32 bits in a row is
/// found for certain, as with a plain CRC32.
/// </summary>
internal static class PayloadChecksum
{
    public static uint Of(ReadOnlySpan<byte> payload)
    {
        var words = MemoryMarshal.Cast<byte, ulong>(payload);
        var quarter = words.Length / 4;
        var first = words[..quarter];
        var second = words.Slice(quarter, quarter);
        var third = words.Slice(2 * quarter, quarter);
        var fourth = words.Slice(3 * quarter, quarter);
        uint a = uint.MaxValue, b = uint.MaxValue, c = uint.MaxValue, d = uint.MaxValue;
        for (var i = 0; i < quarter; i++)
        {
            a = BitOperations.Crc32C(a, first[i]);
            b = BitOperations.Crc32C(b, second[i]);
            c = BitOperations.Crc32C(c, third[i]);
            d = BitOperations.Crc32C(d, fourth[i]);
        }
        foreach (var rest in payload[(4 * quarter * sizeof(ulong))..])
            d = BitOperations.Crc32C(d, rest);
        return BitOperations.Crc32C(BitOperations.Crc32C(BitOperations.Crc32C(BitOperations.Crc32C(uint.MaxValue, a), b), c), d);
    }
}
