namespace Sora.Federation.Privacy;

/// <summary>
/// The distribution of the privacy loss ln(P/Q) under P, composed over many releases, on a grid. Each release's loss is moved to the two
/// nearest grid points such that the masses of P and of Q are kept ("connect the dots", Doroshenko et al. 2022): the least distribution on
/// the grid that dominates the true one, hence epsilon and delta are upper bounds whatever the spacing.
/// </summary>
internal sealed class PrivacyLossDistribution
{
    private readonly LossWindow _window;
    private readonly double[] _tilted; // index modulo size -> mass * exp(tilt * loss - scale)
    private readonly double _scale, _beyond;

    private PrivacyLossDistribution(LossWindow window, double[] tilted, double scale, double beyond) =>
        (_window, _tilted, _scale, _beyond) = (window, tilted, scale, beyond);

    public static PrivacyLossDistribution Compose(ComposedReleases releases, LossWindow window)
    {
        var size = window.Size;
        var transform = new FourierTransform(size);
        var (real, imaginary) = (new double[size], new double[size]);
        var (logarithms, angles) = (new double[size], new double[size]);
        var (scale, beyond) = (0.0, window.Beyond);
        foreach (var (release, count) in releases.Releases)
        {
            Array.Clear(real);
            Array.Clear(imaginary);
            var (releaseScale, releaseBeyond) = Discretize(release, releases.Adding, window, real);
            scale += count * releaseScale;
            beyond += count * releaseBeyond;
            transform.Forward(real, imaginary);
            for (var k = 0; k < size; k++)
            {
                logarithms[k] += 0.5 * count * Math.Log(real[k] * real[k] + imaginary[k] * imaginary[k]);
                if (logarithms[k] > -100) angles[k] += count * Math.Atan2(imaginary[k], real[k]);
            }
        }
        for (var k = 0; k < size; k++)
        {
            if (logarithms[k] <= -100)
            {
                (real[k], imaginary[k]) = (0, 0);
                continue;
            }
            var (sine, cosine) = Math.SinCos(angles[k]);
            var magnitude = Math.Exp(logarithms[k]) / size;
            (real[k], imaginary[k]) = (magnitude * cosine, magnitude * sine);
        }
        transform.Inverse(real, imaginary);
        return new PrivacyLossDistribution(window, real, scale, beyond);
    }

    /// <summary>The smallest epsilon of at least 0 at which delta is at most this.</summary>
    public double Epsilon(double delta)
    {
        var fall = Math.Exp(-_window.Spacing);
        // The mass above a loss y, and the same weighted by exp(y - loss): delta at y is their difference.
        var (mass, weighted) = (_beyond, 0.0);
        for (var i = _window.Size - 1; i >= 0; i--)
        {
            var loss = LossAt(i);
            if (loss <= 0) return 0;
            var here = MassAt(i, loss);
            mass += here;
            weighted = (weighted + here) * fall;
            // Also when something is not a number: then so is epsilon, and no comparison with a budget holds.
            if (!(mass - weighted <= delta)) return Math.Max(0, loss - _window.Spacing + Math.Log((mass - delta) / weighted));
        }
        return Math.Max(0, LossAt(0));
    }

    /// <summary>Delta at an epsilon; 1 below the window, of which nothing is known.</summary>
    public double Delta(double epsilon)
    {
        if (epsilon < LossAt(0)) return 1;
        var delta = _beyond;
        for (var i = _window.Size - 1; i >= 0 && LossAt(i) > epsilon; i--) delta -= MassAt(i, LossAt(i)) * NormalDistribution.ExpMinusOne(epsilon - LossAt(i));
        return Math.Min(1, delta);
    }

    private double LossAt(int i) => (_window.Lowest + i) * _window.Spacing;

    private double MassAt(int i, double loss) =>
        Math.Max(0, _tilted[Wrap(_window.Lowest + i, _window.Size)]) * Math.Exp(_scale - _window.Tilt * loss);

    // One release's tilted masses, scaled to 1; returns ln of what they were divided by and the mass above the last grid point.
    private static (double Scale, double Beyond) Discretize(SubsampledGaussian release, bool adding, LossWindow window, double[] masses)
    {
        var (leftmost, rightmost) = (-window.Cut * release.Noise, 1 + window.Cut * release.Noise);
        var (low, high) = adding ? (-release.LogRatio(rightmost), -release.LogRatio(leftmost)) : (release.LogRatio(leftmost), release.LogRatio(rightmost));
        var (first, last) = ((long)Math.Floor(low / window.Spacing), (long)Math.Floor(high / window.Spacing) + 1);
        var exponents = new double[last - first + 1];
        var edge = LossTails.At(release, adding, first * window.Spacing);
        var carried = edge.PBelow; // what lies below the first point is counted there
        var width = -NormalDistribution.ExpMinusOne(-window.Spacing);
        for (var i = first; i < last; i++)
        {
            var next = LossTails.At(release, adding, (i + 1) * window.Spacing);
            var (p, q) = (Between(edge.PBelow, edge.PAbove, next.PBelow, next.PAbove), Between(edge.QBelow, edge.QAbove, next.QBelow, next.QAbove));
            // a + b = p and a exp(-loss) + b exp(-loss - spacing) = q. Where the power leaves the range of doubles, up is the safe side.
            var up = i * window.Spacing < LossTails.Overflow ? Math.Clamp((p - Math.Exp(i * window.Spacing) * q) / width, 0, p) : p;
            exponents[i - first] = Math.Log(carried + p - up) + window.Tilt * i * window.Spacing;
            (carried, edge) = (up, next);
        }
        exponents[last - first] = Math.Log(carried) + window.Tilt * last * window.Spacing;

        var largest = exponents.Max();
        var scale = largest + Math.Log(exponents.Sum(exponent => ExpOrZero(exponent - largest)));
        for (var i = first; i <= last; i++) masses[Wrap(i, window.Size)] += ExpOrZero(exponents[i - first] - scale);
        return (scale, edge.PAbove);
    }

    // A power below the range of doubles takes a library ten times as long as one within. Not a number stays it.
    private static double ExpOrZero(double x) => x < -745 ? 0 : Math.Exp(x);

    // Of the two ways to take the difference the one between the smaller numbers keeps more digits.
    private static double Between(double below, double above, double nextBelow, double nextAbove) =>
        Math.Max(0, nextAbove < nextBelow ? above - nextAbove : nextBelow - below);

    private static int Wrap(long index, int size) => (int)(index & (size - 1));
}
