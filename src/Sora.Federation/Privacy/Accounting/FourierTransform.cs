using System.Numerics;
using System.Runtime.InteropServices;

namespace Sora.Federation.Privacy;

/// <summary>
/// The discrete Fourier transform of a power of two of complex numbers, in place. Frequencies lie in bit-reversed order, which costs nothing
/// where they are only multiplied with each other.
/// </summary>
internal sealed class FourierTransform
{
    // Blocks of this many stay in the cache through all their levels.
    private const int CacheBlock = 1 << 11;

    // The roots of the level with m butterflies a block lie at m .. 2m.
    private readonly double[] _cosines, _sines;

    public FourierTransform(int size)
    {
        if (!BitOperations.IsPow2(size)) throw new ArgumentOutOfRangeException(nameof(size), size, "No power of two.");
        (_cosines, _sines) = (new double[size], new double[size]);
        var half = size / 2;
        for (var j = 0; j < half; j++) (_sines[half + j], _cosines[half + j]) = Math.SinCos(-Math.PI * j / half);
        for (var m = half / 2; m > 0; m /= 2)
        {
            for (var j = 0; j < m; j++) (_cosines[m + j], _sines[m + j]) = (_cosines[2 * (m + j)], _sines[2 * (m + j)]);
        }
    }

    /// <summary>From values in their order to frequencies in bit-reversed order.</summary>
    public void Forward(Span<double> real, Span<double> imaginary)
    {
        var half = real.Length / 2;
        if (real.Length > CacheBlock)
        {
            Split(real, imaginary, half);
            Forward(real[..half], imaginary[..half]);
            Forward(real[half..], imaginary[half..]);
            return;
        }
        for (; half > 0; half /= 2)
        {
            for (var start = 0; start < real.Length; start += 2 * half) Split(real.Slice(start, 2 * half), imaginary.Slice(start, 2 * half), half);
        }
    }

    /// <summary>Back again, times the size.</summary>
    public void Inverse(Span<double> real, Span<double> imaginary)
    {
        var whole = real.Length / 2;
        if (real.Length > CacheBlock)
        {
            Inverse(real[..whole], imaginary[..whole]);
            Inverse(real[whole..], imaginary[whole..]);
            Join(real, imaginary, whole);
            return;
        }
        for (var half = 1; half <= whole; half *= 2)
        {
            for (var start = 0; start < real.Length; start += 2 * half) Join(real.Slice(start, 2 * half), imaginary.Slice(start, 2 * half), half);
        }
    }

    // (a, b) -> (a + b, (a - b) w)
    private void Split(Span<double> real, Span<double> imaginary, int half)
    {
        if (half >= Vector<double>.Count)
        {
            var ar = Vectors(real[..half]);
            var ai = Vectors(imaginary[..half]);
            var br = Vectors(real[half..]);
            var bi = Vectors(imaginary[half..]);
            var wr = Vectors(_cosines.AsSpan(half, half));
            var wi = Vectors(_sines.AsSpan(half, half));
            for (var j = 0; j < ar.Length; j++)
            {
                var (dr, di) = (ar[j] - br[j], ai[j] - bi[j]);
                (ar[j], ai[j]) = (ar[j] + br[j], ai[j] + bi[j]);
                (br[j], bi[j]) = (dr * wr[j] - di * wi[j], dr * wi[j] + di * wr[j]);
            }
            return;
        }
        for (var j = 0; j < half; j++)
        {
            var (wr, wi) = (_cosines[half + j], _sines[half + j]);
            var (dr, di) = (real[j] - real[half + j], imaginary[j] - imaginary[half + j]);
            (real[j], imaginary[j]) = (real[j] + real[half + j], imaginary[j] + imaginary[half + j]);
            (real[half + j], imaginary[half + j]) = (dr * wr - di * wi, dr * wi + di * wr);
        }
    }

    // (a, b) -> (a + b w*, a - b w*)
    private void Join(Span<double> real, Span<double> imaginary, int half)
    {
        if (half >= Vector<double>.Count)
        {
            var ar = Vectors(real[..half]);
            var ai = Vectors(imaginary[..half]);
            var br = Vectors(real[half..]);
            var bi = Vectors(imaginary[half..]);
            var wr = Vectors(_cosines.AsSpan(half, half));
            var wi = Vectors(_sines.AsSpan(half, half));
            for (var j = 0; j < ar.Length; j++)
            {
                var (tr, ti) = (br[j] * wr[j] + bi[j] * wi[j], bi[j] * wr[j] - br[j] * wi[j]);
                (br[j], bi[j]) = (ar[j] - tr, ai[j] - ti);
                (ar[j], ai[j]) = (ar[j] + tr, ai[j] + ti);
            }
            return;
        }
        for (var j = 0; j < half; j++)
        {
            var (wr, wi) = (_cosines[half + j], _sines[half + j]);
            var (tr, ti) = (real[half + j] * wr + imaginary[half + j] * wi, imaginary[half + j] * wr - real[half + j] * wi);
            (real[half + j], imaginary[half + j]) = (real[j] - tr, imaginary[j] - ti);
            (real[j], imaginary[j]) = (real[j] + tr, imaginary[j] + ti);
        }
    }

    private static Span<Vector<double>> Vectors(Span<double> values) => MemoryMarshal.Cast<double, Vector<double>>(values);
}
