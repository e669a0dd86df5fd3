using Sora.Model.Training;
using Sora.Protocol.Jobs;

namespace Sora.Model.Inference;

/// <summary>
/// Chooses the next token: a pure function of the logits, the options and the token's number. Done here in double precision
/// and not by libtorch, whose generators differ between devices.
/// </summary>
internal static class TokenSampler
{
    /// <summary>Chooses a token.</summary>
    /// <param name="logits">[vocab]</param>
    /// <param name="options">Temperature, top_k, top_p and seed.</param>
    /// <param name="index">How many tokens were chosen before; each draws a number of its own from the seed.</param>
    /// <exception cref="SoraException">The logits are not finite: the model has diverged.</exception>
    public static int Choose(ReadOnlySpan<float> logits, GenerationOptions options, long index)
    {
        var best = 0;
        for (var id = 0; id < logits.Length; id++)
        {
            if (float.IsNaN(logits[id]))
                throw Diverged();
            if (logits[id] > logits[best])
                best = id;
        }
        if (!float.IsFinite(logits[best]))
            throw Diverged();
        if (options.Temperature == 0)
            return best;

        var weights = new double[logits.Length]; // probabilities up to a common factor
        for (var id = 0; id < weights.Length; id++)
            weights[id] = Math.Exp(((double)logits[id] - logits[best]) / options.Temperature);
        var uniform = ((ulong)RandomSeed.Of(options.Seed, index) >> 11) * (1.0 / (1UL << 53));
        return options.TopK is 0 && options.TopP >= 1
            ? Draw(weights, null, weights.Length, uniform)
            : DrawFromLikeliest(weights, options, uniform);
    }

    private static SoraException Diverged() =>
        new("The model's output is not a finite number: its weights have diverged. Use an earlier checkpoint.", ExitCode.Diverged);

    private static int DrawFromLikeliest(double[] weights, GenerationOptions options, double uniform)
    {
        var ids = new int[weights.Length];
        for (var id = 0; id < ids.Length; id++)
            ids[id] = id;
        Array.Sort(ids, (a, b) => weights[a] != weights[b] ? weights[b].CompareTo(weights[a]) : a.CompareTo(b));
        var count = options.TopK > 0 ? Math.Min(options.TopK, ids.Length) : ids.Length;
        if (options.TopP < 1)
        {
            var total = 0.0;
            for (var i = 0; i < count; i++)
                total += weights[ids[i]];
            var (share, kept) = (0.0, 0);
            while (kept < count && share < options.TopP * total)
                share += weights[ids[kept++]];
            count = Math.Max(kept, 1);
        }
        return Draw(weights, ids, count, uniform);
    }

    private static int Draw(double[] weights, int[]? ids, int count, double uniform)
    {
        var total = 0.0;
        for (var i = 0; i < count; i++)
            total += weights[ids?[i] ?? i];
        var (left, last) = (uniform * total, 0);
        for (var i = 0; i < count; i++)
        {
            var id = ids?[i] ?? i;
            if (weights[id] == 0)
                continue;
            last = id;
            left -= weights[id];
            if (left < 0)
                return id;
        }
        return last; // rounding left a crumb
    }
}
