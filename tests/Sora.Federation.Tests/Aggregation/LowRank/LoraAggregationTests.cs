using CsCheck;
using Sora.Federation.Aggregation.LowRank;
using Sora.Protocol.Jobs;

namespace Sora.Federation.Tests.Aggregation.LowRank;

public class LoraAggregationTests
{
    private static readonly Gen<(LoraFactors Factors, double Weight)[]> Updates =
        from outputs in Gen.Int[1, 12]
        from inputs in Gen.Int[1, 12]
        from ranks in Gen.Int[1, 4].Array[1, 5]
        from seed in Gen.Int[0, 1_000_000]
        select ranks.Select((rank, site) => (Random(outputs, inputs, rank, seed + 10 * site), 1.0 + (seed + site) % 7)).ToArray();

    [Fact]
    public void Stacking_is_the_exact_mean_of_the_products() =>
        Updates.Sample(updates => AssertClose(DenseMean(updates), Dense(LoraAggregation.Stack(updates)), 1e-5), iter: 100);

    [Fact]
    public void Full_rank_refactoring_loses_nothing() =>
        Updates.Sample(updates =>
        {
            var rank = Math.Min(updates[0].Factors.Outputs, updates[0].Factors.Inputs);
            AssertClose(DenseMean(updates), Dense(LoraAggregation.Mean(updates, rank, 0.25)), 1e-5);
        }, iter: 100);

    [Fact]
    public void No_matrix_of_the_rank_is_closer_than_the_refactored_mean() =>
        Gen.Select(Updates, Gen.Int[1, 3]).Sample((updates, rank) =>
        {
            var (outputs, inputs) = (updates[0].Factors.Outputs, updates[0].Factors.Inputs);
            rank = Math.Min(rank, Math.Min(outputs, inputs));
            var exact = DenseMean(updates);
            var mean = LoraAggregation.Mean(updates, rank, -2);
            Assert.Equal((rank, -2.0), (mean.Rank, mean.Scale));
            // Eckart-Young: the squared error is the sum of the other squared singular values: the eigenvalues of W' W, found here by
            // the classical Jacobi method on the dense matrix.
            var expected = EigenvaluesOfGram(exact).OrderDescending().Skip(rank).Sum();
            Assert.Equal(Math.Sqrt(Math.Max(0, expected)), Distance(exact, Dense(mean)), 2e-5);
        }, iter: 100);

    [Fact]
    public void Averaging_the_factors_apart_is_not_the_mean_of_the_updates()
    {
        // B1 A1 = [[1]] x [[1]] = 1, B2 A2 = [[3]] x [[-1]] = -3: the mean is -1, the product of the means (2 x 0) is 0.
        var updates = new[] { (new LoraFactors(1, 1, 1, [1], [1]), 1.0), (new LoraFactors(1, 1, 1, [3], [-1]), 1.0) };
        Assert.Equal(-1, Dense(LoraAggregation.Mean(updates, 1))[0, 0], 1e-6);
        Assert.Equal(0, Dense(LoraAggregation.MeanOfFactors(updates))[0, 0]);
    }

    [Fact]
    public void Averaging_the_factors_apart_averages_each_by_weight()
    {
        var mean = LoraAggregation.MeanOfFactors([(new LoraFactors(2, 1, 1, [1, 2], [4], 0.5), 1), (new LoraFactors(2, 1, 1, [5, 2], [8], 0.5), 3)]);
        Assert.Equal([4, 2], mean.B.ToArray());
        Assert.Equal([7], mean.A.ToArray());
        Assert.Equal(0.5, mean.Scale);
    }

    [Fact]
    public void Adapters_that_have_learned_nothing_have_a_mean_of_zero()
    {
        var untouched = new LoraFactors(6, 5, 2, new float[12], Random(6, 5, 2, 1).A);
        var mean = LoraAggregation.Mean([(untouched, 1), (untouched, 2)], 2);
        Assert.All(mean.B.Concat(mean.A), value => Assert.Equal(0, value));
    }

    [Fact]
    public void Equal_updates_of_a_low_rank_come_back()
    {
        var update = Random(40, 30, 4, 5);
        var mean = LoraAggregation.Mean([(update, 1), (update, 5), (update, 2)], 4);
        AssertClose(Dense(update), Dense(mean), 1e-5);
    }

    [Fact]
    public void What_cannot_be_aggregated_is_refused()
    {
        Assert.Throws<SoraException>(() => LoraAggregation.Stack([]));
        Assert.Throws<SoraException>(() => LoraAggregation.Stack([(Random(2, 3, 1, 1), 1), (Random(3, 2, 1, 1), 1)]));
        Assert.Throws<SoraException>(() => LoraAggregation.Stack([(Random(2, 3, 1, 1), double.NaN)]));
        Assert.Throws<SoraException>(() => LoraAggregation.MeanOfFactors([(Random(2, 3, 1, 1), 1), (Random(2, 3, 2, 1), 1)]));
        Assert.Throws<SoraException>(() => LoraAggregation.Refactor(Random(2, 3, 1, 1), 3));
        Assert.Throws<SoraException>(() => new LoraFactors(2, 2, 1, [1, float.NaN], [1, 2]));
        Assert.Throws<SoraException>(() => new LoraFactors(2, 2, 1, [1, 2, 3], [1, 2]));
    }

    private static LoraFactors Random(int outputs, int inputs, int rank, int seed) =>
        new(outputs, inputs, rank, RoundTesting.Values(seed, outputs * rank, 1), RoundTesting.Values(seed + 1, rank * inputs, 1), 1 + seed % 3);

    private static double[,] Dense(LoraFactors factors)
    {
        var dense = new double[factors.Outputs, factors.Inputs];
        for (var row = 0; row < factors.Outputs; row++)
            for (var column = 0; column < factors.Inputs; column++)
                for (var k = 0; k < factors.Rank; k++)
                    dense[row, column] += factors.Scale * factors.B[row * factors.Rank + k] * factors.A[k * factors.Inputs + column];
        return dense;
    }

    private static double[,] DenseMean((LoraFactors Factors, double Weight)[] updates)
    {
        var mean = new double[updates[0].Factors.Outputs, updates[0].Factors.Inputs];
        foreach (var (factors, weight) in updates)
        {
            var dense = Dense(factors);
            for (var row = 0; row < factors.Outputs; row++)
                for (var column = 0; column < factors.Inputs; column++)
                    mean[row, column] += weight / updates.Sum(update => update.Weight) * dense[row, column];
        }
        return mean;
    }

    private static double Distance(double[,] a, double[,] b)
    {
        var squares = 0.0;
        for (var row = 0; row < a.GetLength(0); row++)
            for (var column = 0; column < a.GetLength(1); column++)
                squares += (a[row, column] - b[row, column]) * (a[row, column] - b[row, column]);
        return Math.Sqrt(squares);
    }

    private static void AssertClose(double[,] expected, double[,] actual, double tolerance) => Assert.True(Distance(expected, actual) <= tolerance, $"off by {Distance(expected, actual)}");

    private static double[] EigenvaluesOfGram(double[,] matrix)
    {
        var n = matrix.GetLength(1);
        var gram = new double[n, n];
        for (var i = 0; i < n; i++)
            for (var j = 0; j < n; j++)
                for (var row = 0; row < matrix.GetLength(0); row++)
                    gram[i, j] += matrix[row, i] * matrix[row, j];
        for (var sweep = 0; sweep < 30; sweep++)
            for (var p = 0; p < n; p++)
                for (var q = p + 1; q < n; q++)
                {
                    if (gram[p, q] == 0)
                        continue;
                    var theta = 0.5 * Math.Atan2(2 * gram[p, q], gram[q, q] - gram[p, p]);
                    var (s, c) = Math.SinCos(theta);
                    for (var k = 0; k < n; k++)
                        (gram[k, p], gram[k, q]) = (c * gram[k, p] - s * gram[k, q], s * gram[k, p] + c * gram[k, q]);
                    for (var k = 0; k < n; k++)
                        (gram[p, k], gram[q, k]) = (c * gram[p, k] - s * gram[q, k], s * gram[p, k] + c * gram[q, k]);
                }
        return [.. Enumerable.Range(0, n).Select(i => gram[i, i])];
    }
}
