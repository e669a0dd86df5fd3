using CsCheck;
using Sora.Federation.Aggregation.Strategies;
using Sora.Federation.Aggregation.Updates;

namespace Sora.Federation.Tests.Aggregation.Strategies;

/// <summary>
/// With one local step over all local data, w_i = w - eta grad_i and FedAvg gives w - eta sum (n_i / n) grad_i, which is the gradient
/// step over everybody's data. Shown with logistic regression.
/// </summary>
public class DataParallelEquivalenceTests
{
    private const int Features = 6;
    private const double Rate = 0.3;

    [Fact]
    public void FedAvg_with_one_full_batch_step_is_a_data_parallel_step() =>
        Gen.Select(Gen.Int[1, 40].Array[1, 6], Gen.Int[0, 1_000_000]).Sample((counts, seed) =>
        {
            var random = new Random(seed);
            var sites = counts.Select(count => Enumerable.Range(0, count).Select(_ => Example(random)).ToArray()).ToArray();
            var together = new double[Features];
            var model = StrategyCatalog.Create("fedavg").Optimizer.Begin(new float[Features]);
            for (var round = 0; round < 5; round++)
            {
                var updates = sites.Select((examples, site) =>
                {
                    var gradient = Gradient([.. model.Weights.Select(weight => (double)weight)], examples);
                    return new MemoryUpdate($"site-{site}", examples.Length, [.. gradient.Select(value => (float)(-Rate * value))]);
                });
                model = Sora.Federation.Aggregation.RoundArithmetic.Aggregate(StrategyCatalog.Create("fedavg"), model, round, updates).Model;
                var full = Gradient(together, [.. sites.SelectMany(examples => examples)]);
                together = [.. together.Zip(full, (weight, gradient) => weight - Rate * gradient)];
            }
            for (var i = 0; i < Features; i++)
                Assert.Equal(together[i], model.Weights[i], 1e-6);
        }, iter: 50);

    private static (double[] X, double Y) Example(Random random)
    {
        var x = Enumerable.Range(0, Features).Select(_ => random.NextDouble() * 2 - 1).ToArray();
        return (x, x[0] + x[1] > 0.2 ? 1 : 0);
    }

    private static double[] Gradient(double[] weights, (double[] X, double Y)[] examples)
    {
        var gradient = new double[Features];
        foreach (var (x, y) in examples)
        {
            var error = 1 / (1 + Math.Exp(-weights.Zip(x, (w, f) => w * f).Sum())) - y;
            for (var i = 0; i < Features; i++)
                gradient[i] += error * x[i] / examples.Length;
        }
        return gradient;
    }
}
