namespace Sora.Federation.Aggregation.Strategies;

/// <summary>How <see cref="AdaptiveOptimizer"/> forms the second moment.</summary>
public enum SecondMoment
{
    /// <summary>v = beta_2 v + (1 - beta_2) delta^2.</summary>
    Adam,

    /// <summary>v = v - (1 - beta_2) delta^2 sign(v - delta^2).</summary>
    Yogi,

    /// <summary>v = v + delta^2.</summary>
    Adagrad,
}

/// <summary>
/// FedAdam, FedYogi and FedAdagrad as in Reddi et al., "Adaptive Federated Optimization" (2021), algorithm 2:
/// m = beta_1 m + (1 - beta_1) delta; v by <see cref="Moment"/>; w += eta m / (sqrt(v) + tau).
/// As in the paper there is no bias correction, m begins at 0 and v at tau^2 (the paper asks for at least tau^2; some
/// implementations begin at 0 or correct the bias, and take other first steps). tau stands outside the root.
/// </summary>
/// <param name="Moment">Which of the three.</param>
/// <param name="Eta">The server's learning rate.</param>
/// <param name="Beta1">Decay of the first moment.</param>
/// <param name="Beta2">Decay of the second moment; not used by Adagrad.</param>
/// <param name="Tau">The degree of adaptivity: the smaller, the more adaptive.</param>
public sealed record AdaptiveOptimizer(SecondMoment Moment, double Eta, double Beta1, double Beta2, double Tau) : ServerOptimizer
{
    /// <inheritdoc/>
    public override int StateVectors => 2;

    /// <inheritdoc/>
    public override float InitialState(int vector) => vector == 0 ? 0 : (float)(Tau * Tau);

    /// <inheritdoc/>
    public override void Step(int part, ReadOnlySpan<double> delta, Span<float> weights, StateRun state, int sites)
    {
        var first = state[0];
        var second = state[1];
        for (var i = 0; i < delta.Length; i++)
        {
            var square = delta[i] * delta[i];
            double v = second[i];
            v = Moment switch
            {
                SecondMoment.Adam => Beta2 * v + (1 - Beta2) * square,
                SecondMoment.Yogi => v - (1 - Beta2) * square * Math.Sign(v - square),
                _ => v + square,
            };
            var m = Beta1 * first[i] + (1 - Beta1) * delta[i];
            (first[i], second[i]) = ((float)m, (float)v);
            weights[i] = (float)(weights[i] + Eta * m / (Math.Sqrt(v) + Tau));
        }
    }
}
