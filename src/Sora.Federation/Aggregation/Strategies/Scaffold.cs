namespace Sora.Federation.Aggregation.Strategies;

/// <summary>
/// The server of SCAFFOLD (Karimireddy et al., 2020, algorithm 1). An update is two vectors: the change of the weights and the
/// change of the site's control variate. With S of N sites taking part: w += eta_g mean(dw), c += S/N mean(dc).
/// The state vector is c, which every site of a round is sent along with the weights.
/// </summary>
/// <param name="EtaG">The server's learning rate.</param>
/// <param name="TotalSites">N: all sites of the job, whether they took part or not; 0: all take part in each round.</param>
public sealed record Scaffold(double EtaG, int TotalSites) : ServerOptimizer
{
    /// <inheritdoc/>
    public override int UpdateVectors => 2;

    /// <inheritdoc/>
    public override int StateVectors => 1;

    /// <inheritdoc/>
    public override void Step(int part, ReadOnlySpan<double> delta, Span<float> weights, StateRun state, int sites)
    {
        var target = part == 0 ? weights : state[0];
        var rate = part == 0 ? EtaG : TotalSites == 0 ? 1 : (double)sites / TotalSites;
        for (var i = 0; i < delta.Length; i++)
            target[i] = (float)(target[i] + rate * delta[i]);
    }
}

/// <summary>A site's arithmetic in SCAFFOLD. A site keeps its own control variate between rounds; it begins at zero.</summary>
public static class ScaffoldSite
{
    /// <summary>One local step: w -= eta_l (gradient - c_i + c).</summary>
    public static void Step(Span<float> weights, ReadOnlySpan<float> gradient, ReadOnlySpan<float> siteControl, ReadOnlySpan<float> control, double etaL)
    {
        for (var i = 0; i < weights.Length; i++)
            weights[i] = (float)(weights[i] - etaL * ((double)gradient[i] - siteControl[i] + control[i]));
    }

    /// <summary>
    /// The end of a site's round by option II of the paper: c_i+ = c_i - c + (w_global - w_local) / (steps eta_l).
    /// Changes <paramref name="siteControl"/> and returns the update to send: the change of the weights, then that of c_i.
    /// </summary>
    public static float[] Finish(ReadOnlySpan<float> globalWeights, ReadOnlySpan<float> localWeights, Span<float> siteControl,
        ReadOnlySpan<float> control, int steps, double etaL)
    {
        var length = globalWeights.Length;
        var update = new float[2 * length];
        for (var i = 0; i < length; i++)
        {
            var old = siteControl[i];
            siteControl[i] = (float)((double)old - control[i] + ((double)globalWeights[i] - localWeights[i]) / (steps * etaL));
            update[i] = localWeights[i] - globalWeights[i];
            update[length + i] = siteControl[i] - old;
        }
        return update;
    }
}
