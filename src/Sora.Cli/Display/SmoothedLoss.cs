namespace Sora.Cli.Display;

/// <summary>
/// Exponential moving average with the start-up bias taken out (Kingma and Ba 2015, section 3), so that the first points are
/// averages of what was seen and not pulled towards zero. Values that are not finite are skipped.
/// </summary>
internal sealed class SmoothedLoss(double decay = 0.9)
{
    private double _sum;
    private double _weight;

    /// <summary>The average after one more value; NaN before any finite one.</summary>
    public double Add(double value)
    {
        if (double.IsFinite(value))
        {
            _sum = decay * _sum + (1 - decay) * value;
            _weight = decay * _weight + (1 - decay);
        }
        return _weight > 0 ? _sum / _weight : double.NaN;
    }
}
