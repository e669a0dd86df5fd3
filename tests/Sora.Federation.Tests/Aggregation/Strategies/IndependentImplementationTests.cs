using CsCheck;
using Sora.Federation.Aggregation.Strategies;
using Sora.Federation.Aggregation.Updates;

namespace Sora.Federation.Tests.Aggregation.Strategies;

/// <summary>Five rounds of random updates through each strategy and through its formulas written down once more, in the plainest way.</summary>
public class IndependentImplementationTests
{
    private const int Length = 40;
    private const int Rounds = 5;

    public static TheoryData<string> Names => ["fedavg", "fedavgm", "diloco", "fedadam", "fedyogi", "fedadagrad", "fedbuff"];

    [Theory]
    [MemberData(nameof(Names))]
    public void Strategies_agree_with_the_formulas(string name) =>
        Gen.Int[0, 1_000_000].Sample(seed =>
        {
            var rounds = Enumerable.Range(0, Rounds).Select(round => Enumerable.Range(0, 4)
                .Select(site => new MemoryUpdate($"s{site}", 1 + (seed + 7 * site + round) % 90, RoundTesting.Values(seed + 100 * round + site, Length, 0.5), Math.Max(0, round - site))).ToArray()).ToArray();
            var start = RoundTesting.Values(seed - 1, Length, 1);
            var model = RoundTesting.Run(StrategyCatalog.Create(name), [.. start], rounds);
            for (var i = 0; i < Length; i++)
                Assert.Equal(Plain(name, start[i], rounds, i), model.Weights[i], 2e-5);
        }, iter: 40);

    private static double Plain(string name, double w, MemoryUpdate[][] rounds, int parameter)
    {
        double b = 0, m = 0, tau = name == "fedadagrad" ? 1e-9 : 1e-3, v = tau * tau;
        for (var round = 0; round < rounds.Length; round++)
        {
            double sum = 0, weights = 0, stale = 0;
            foreach (var update in rounds[round])
            {
                var value = new float[Length];
                update.Read(0, value);
                sum += update.Weight * value[parameter];
                weights += update.Weight;
                stale += value[parameter] / Math.Sqrt(1 + round - update.Round);
            }
            var delta = sum / weights;
            switch (name)
            {
                case "fedavg":
                    w += delta;
                    break;
                case "fedavgm":
                    b = 0.9 * b - delta;
                    w -= b;
                    break;
                case "diloco":
                    b = 0.9 * b - delta;
                    w -= 0.7 * (0.9 * b - delta);
                    break;
                case "fedbuff":
                    w += stale / rounds[round].Length;
                    break;
                case "fedadagrad":
                    v += delta * delta;
                    w += 0.1 * delta / (Math.Sqrt(v) + tau);
                    break;
                default:
                    m = 0.9 * m + 0.1 * delta;
                    v = name == "fedadam" ? 0.99 * v + 0.01 * delta * delta
                        : v > delta * delta ? v - 0.01 * delta * delta : v + 0.01 * delta * delta;
                    w += (name == "fedadam" ? 0.1 : 0.01) * m / (Math.Sqrt(v) + tau);
                    break;
            }
        }
        return w;
    }
}
