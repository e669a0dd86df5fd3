using System.Globalization;
using Sora.Protocol.Jobs;

namespace Sora.Federation.Privacy;

/// <summary>The least noise that keeps a promise.</summary>
public static class NoiseCalibration
{
    private const double MostNoise = 10_000;

    /// <summary>
    /// The smallest noise multiplier at which the releases cost at most <paramref name="targetEpsilon"/>; above the very smallest by at most
    /// <paramref name="precision"/> of it.
    /// </summary>
    public static double SmallestNoise(PrivacyAccountant accountant, double targetEpsilon, double delta, double sampleRate, long count, double precision = 1e-5)
    {
        PrivacyEvent.CheckEpsilon(targetEpsilon);
        // Renyi's orders are quick and lie above: the tight accountant is asked only near the answer.
        var high = accountant is RenyiAccountant ? 1 : SmallestNoise(new RenyiAccountant(), targetEpsilon, delta, sampleRate, count, 1e-2);
        while (Costs(high) > targetEpsilon)
        {
            if ((high *= 2) > MostNoise) throw new SoraException(string.Create(CultureInfo.InvariantCulture,
                $"Even a noise multiplier of {MostNoise:N0} does not keep epsilon at {targetEpsilon} (delta {delta}, {count:N0} releases). Take fewer releases, a larger epsilon or a larger delta."), ExitCode.Usage);
        }
        var low = high;
        for (var step = accountant is RenyiAccountant ? 0.5 : 0.9; Costs(low) <= targetEpsilon; low *= step)
        {
            high = low;
            if (low * step < 0.01) return high;
        }
        while (high - low > precision * high)
        {
            var middle = (low + high) / 2;
            if (Costs(middle) <= targetEpsilon) high = middle;
            else low = middle;
        }
        return high;

        double Costs(double noise) => accountant.Epsilon([new PrivacyEvent(noise, sampleRate, count)], delta);
    }
}
