using System.Buffers.Binary;

namespace Sora.Model.Privacy;

/// <summary>
/// Normally distributed numbers out of a <see cref="SecretStream"/>, by Box and Muller's method. Each is half the sum of four, so
/// that the gaps between floating-point numbers tell less of the value before the noise (Mironov 2012; Holohan and Braghin 2021).
/// </summary>
internal sealed class GaussianNoise(ReadOnlySpan<byte> secret, string context, long step) : IDisposable
{
    private const int BytesPerValue = 4 * sizeof(ulong);
    private const int BlocksPerValue = BytesPerValue / SecretStream.BlockSize;
    private const int ValuesAtOnce = 512;

    private readonly SecretStream _stream = new(secret, "dp-sgd noise", context, step);
    private readonly byte[] _bytes = new byte[ValuesAtOnce * BytesPerValue];

    /// <summary>Fills a stretch of the noise.</summary>
    /// <param name="values">Receives it.</param>
    /// <param name="first">Its first number's place in the whole: the same place gives the same number, whatever is drawn together.</param>
    /// <param name="deviation">Standard deviation.</param>
    public void Fill(Span<float> values, long first, double deviation)
    {
        for (var done = 0; done < values.Length; done += ValuesAtOnce)
        {
            var part = values[done..Math.Min(values.Length, done + ValuesAtOnce)];
            _stream.Fill(_bytes.AsSpan(0, part.Length * BytesPerValue), (first + done) * BlocksPerValue);
            for (var i = 0; i < part.Length; i++)
                part[i] = (float)(deviation * Normal(_bytes.AsSpan(i * BytesPerValue, BytesPerValue)));
        }
    }

    public void Dispose() => _stream.Dispose();

    private static double Normal(ReadOnlySpan<byte> random) => (PairSum(random) + PairSum(random[SecretStream.BlockSize..])) / 2;

    // The sum of the two normal numbers that two uniform ones give.
    private static double PairSum(ReadOnlySpan<byte> random)
    {
        var radius = Math.Sqrt(-2 * Math.Log(Uniform(random)));
        var (sine, cosine) = Math.SinCos(2 * Math.PI * Uniform(random[sizeof(ulong)..]));
        return radius * (sine + cosine);
    }

    // In (0, 1]: 53 bits, and half a unit so that it is never 0.
    private static double Uniform(ReadOnlySpan<byte> random) => ((BinaryPrimitives.ReadUInt64LittleEndian(random) >> 11) + 0.5) * (1.0 / (1UL << 53));
}
