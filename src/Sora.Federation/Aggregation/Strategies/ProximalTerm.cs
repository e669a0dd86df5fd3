namespace Sora.Federation.Aggregation.Strategies;

/// <summary>FedProx (Li et al., 2020): a site adds mu/2 |w - w_global|^2 to its loss; the server does what FedAvg does.</summary>
public static class ProximalTerm
{
    /// <summary>The value of the term.</summary>
    public static double Value(ReadOnlySpan<float> weights, ReadOnlySpan<float> globalWeights, double proximalMu)
    {
        var squares = 0.0;
        for (var i = 0; i < weights.Length; i++)
        {
            var drift = (double)weights[i] - globalWeights[i];
            squares += drift * drift;
        }
        return proximalMu / 2 * squares;
    }

    /// <summary>Adds its gradient, mu (w - w_global).</summary>
    public static void AddGradient(Span<float> gradient, ReadOnlySpan<float> weights, ReadOnlySpan<float> globalWeights, double proximalMu)
    {
        for (var i = 0; i < gradient.Length; i++)
            gradient[i] = (float)(gradient[i] + proximalMu * ((double)weights[i] - globalWeights[i]));
    }
}
