namespace Sora.Federation.Aggregation.Strategies;

/// <summary>
/// Gradient descent on the pseudo-gradient g = -delta. Without momentum and with a learning rate of one it is FedAvg
/// (McMahan et al., 2017): w += delta. With momentum, FedAvgM (Hsu et al., 2019): b = momentum b + g, w -= rate b.
/// With Nesterov momentum, the outer step of DiLoCo (Douillard et al., 2023), as PyTorch's SGD writes it:
/// b = momentum b + g, w -= rate (g + momentum b). The buffer begins at zero, so the first b is the first g.
/// </summary>
/// <param name="LearningRate">The server's learning rate.</param>
/// <param name="Momentum">In [0, 1); no dampening.</param>
/// <param name="Nesterov">Look ahead.</param>
public sealed record GradientDescent(double LearningRate = 1, double Momentum = 0, bool Nesterov = false) : ServerOptimizer
{
    /// <inheritdoc/>
    public override int StateVectors => Momentum == 0 ? 0 : 1;

    /// <inheritdoc/>
    public override void Step(int part, ReadOnlySpan<double> delta, Span<float> weights, StateRun state, int sites)
    {
        if (Momentum == 0)
        {
            for (var i = 0; i < delta.Length; i++)
                weights[i] = (float)(weights[i] + LearningRate * delta[i]);
            return;
        }
        var buffer = state[0];
        for (var i = 0; i < delta.Length; i++)
        {
            var gradient = -delta[i];
            var momentum = Momentum * buffer[i] + gradient;
            buffer[i] = (float)momentum;
            weights[i] = (float)(weights[i] - LearningRate * (Nesterov ? gradient + Momentum * momentum : momentum));
        }
    }
}
