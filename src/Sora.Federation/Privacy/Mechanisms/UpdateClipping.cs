using Sora.Protocol.Jobs;

namespace Sora.Federation.Privacy;

/// <summary>The L2 norm of an update that comes in chunks; refuses what is not finite, which no clipping makes harmless.</summary>
public sealed class UpdateNorm
{
    private double _squares;
    private long _parameters;

    /// <summary>The norm of all chunks so far.</summary>
    public double Value => Math.Sqrt(_squares);

    /// <summary>Takes the next chunk in.</summary>
    public void Add(ReadOnlySpan<float> chunk)
    {
        foreach (var value in chunk)
        {
            if (!float.IsFinite(value))
                throw new SoraException($"The update's parameter {_parameters} is {value}. An update that is not finite is not sent or added: look at the site's loss and learning rate.", ExitCode.Diverged);
            _squares += (double)value * value;
            _parameters++;
        }
    }
}

/// <summary>An update's norm as it came, and whether it was above the limit.</summary>
/// <param name="Norm">Before clipping.</param>
/// <param name="WasClipped">Whether it was scaled down.</param>
public readonly record struct ClippedUpdate(double Norm, bool WasClipped);

/// <summary>Scales updates down to a limit of their L2 norm, so that noise can hide any one of them.</summary>
public static class UpdateClipping
{
    // Rounding to float may lengthen a vector by 2^-24 of its length; the limit must hold after it.
    private const double Margin = 1 - 1.0 / (1 << 22);

    /// <summary>Clips a whole update in place.</summary>
    public static ClippedUpdate Clip(Span<float> update, double limit)
    {
        var norm = new UpdateNorm();
        norm.Add(update);
        var factor = Factor(norm.Value, limit);
        if (factor < 1) Scale(update, factor);
        return new ClippedUpdate(norm.Value, factor < 1);
    }

    /// <summary>With which factor an update of this norm stays under the limit; 1 when it is there already, as one of norm 0 is.</summary>
    public static double Factor(double norm, double limit)
    {
        CheckLimit(limit);
        return norm <= limit ? 1 : limit / norm * Margin;
    }

    /// <summary>Scales a chunk in place.</summary>
    public static void Scale(Span<float> chunk, double factor)
    {
        for (var i = 0; i < chunk.Length; i++) chunk[i] = (float)(chunk[i] * factor);
    }

    internal static void CheckLimit(double limit)
    {
        if (!(limit > 0 && double.IsFinite(limit))) throw new SoraException($"The clipping norm is {limit}; it must be above 0 and finite.", ExitCode.Usage);
    }
}
