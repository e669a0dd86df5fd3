using Sora.Protocol.Jobs;

namespace Sora.Federation.Aggregation.LowRank;

/// <summary>
/// Weighted means of LoRA updates. The mean of products is not the product of means: averaging the B and the A of the sites
/// apart gives, besides what was learned, all the products of one site's B with another's A. Pass updates in the order of the sites'
/// names: the last bits depend on it.
/// </summary>
public static class LoraAggregation
{
    /// <summary>
    /// The exact mean by stacking (FLoRA, Wang et al., 2024): B = [B_1 ... B_n], A = [w_1 A_1; ...; w_n A_n], so B A = sum w_i B_i A_i.
    /// The ranks add up, and may differ between sites. Exact but for the rounding of w_i A_i to single precision.
    /// </summary>
    public static LoraFactors Stack(IReadOnlyList<(LoraFactors Factors, double Weight)> updates)
    {
        var (outputs, inputs, total) = Check(updates);
        var rank = updates.Sum(update => update.Factors.Rank);
        var (b, a) = (new float[outputs * rank], new float[rank * inputs]);
        var at = 0;
        foreach (var (factors, weight) in updates)
        {
            for (var row = 0; row < outputs; row++)
                factors.B.AsSpan(row * factors.Rank, factors.Rank).CopyTo(b.AsSpan(row * rank + at));
            var share = weight / total * factors.Scale;
            for (var i = 0; i < factors.A.Length; i++)
                a[at * inputs + i] = (float)(share * factors.A[i]);
            at += factors.Rank;
        }
        return new LoraFactors(outputs, inputs, rank, b, a);
    }

    /// <summary>
    /// The best approximation of an adapter by a smaller rank, in the Frobenius and the spectral norm (Eckart and Young, 1936): the
    /// largest singular values of B A, each split evenly between the new B and A. With B = Q_b R_b and A' = Q_a R_a the core R_b R_a'
    /// has at most the stacked rank, so the matrix itself is never built: O((outputs + inputs) R^2 + R^3) for a stacked rank R.
    /// </summary>
    /// <param name="factors">The adapter, usually from <see cref="Stack"/>.</param>
    /// <param name="rank">The rank wanted; where the adapter has less, the rest is zero.</param>
    /// <param name="scale">The scale that the result shall have (alpha / r of the job); the factors are made to fit.</param>
    public static LoraFactors Refactor(LoraFactors factors, int rank, double scale = 1)
    {
        if (rank < 1 || rank > Math.Min(factors.Outputs, factors.Inputs) || !double.IsFinite(scale) || scale == 0)
            throw new SoraException($"A matrix [{factors.Outputs}, {factors.Inputs}] cannot be brought to rank {rank} with scale {scale}.", ExitCode.Usage);
        var (leftBasis, left) = Matrix.From(factors.B, factors.Outputs, factors.Rank).ThinQr();
        var (rightBasis, right) = Matrix.From(factors.A, factors.Rank, factors.Inputs).Transposed().ThinQr();
        var (u, singular, v) = left.Times(right.Transposed()).Svd();
        var (b, a) = (leftBasis.Times(u), rightBasis.Times(v)); // [outputs, k], [inputs, k]
        var (newB, newA) = (new float[factors.Outputs * rank], new float[rank * factors.Inputs]);
        for (var i = 0; i < Math.Min(rank, singular.Length); i++)
        {
            var value = singular[i] * factors.Scale / scale;
            var (root, sign) = (Math.Sqrt(Math.Abs(value)), Math.Sign(value));
            for (var row = 0; row < factors.Outputs; row++)
                newB[row * rank + i] = (float)(b[row, i] * root);
            for (var column = 0; column < factors.Inputs; column++)
                newA[i * factors.Inputs + column] = (float)(a[column, i] * root * sign);
        }
        return new LoraFactors(factors.Outputs, factors.Inputs, rank, newB, newA, scale);
    }

    /// <summary>The exact weighted mean, brought back to a rank: <see cref="Stack"/>, then <see cref="Refactor"/>.</summary>
    public static LoraFactors Mean(IReadOnlyList<(LoraFactors Factors, double Weight)> updates, int rank, double scale = 1) => Refactor(Stack(updates), rank, scale);

    /// <summary>
    /// The means of all B and of all A, each by itself. Not the mean of the updates; for those who ask for it, because others do it so.
    /// Ranks and scales must agree.
    /// </summary>
    public static LoraFactors MeanOfFactors(IReadOnlyList<(LoraFactors Factors, double Weight)> updates)
    {
        var (outputs, inputs, total) = Check(updates);
        var first = updates[0].Factors;
        if (updates.Any(update => update.Factors.Rank != first.Rank || update.Factors.Scale != first.Scale))
            throw new SoraException("Factors of different ranks or scales cannot be averaged one by one; aggregate them exactly, which allows both.", ExitCode.Usage);
        return new LoraFactors(outputs, inputs, first.Rank, MeanOf(factors => factors.B), MeanOf(factors => factors.A), first.Scale);

        float[] MeanOf(Func<LoraFactors, float[]> part)
        {
            var sum = new double[part(first).Length];
            foreach (var (factors, weight) in updates)
                for (var i = 0; i < sum.Length; i++)
                    sum[i] += weight * part(factors)[i];
            return [.. sum.Select(value => (float)(value / total))];
        }
    }

    private static (int Outputs, int Inputs, double Total) Check(IReadOnlyList<(LoraFactors Factors, double Weight)> updates)
    {
        if (updates.Count == 0)
            throw new SoraException("There are no LoRA updates to aggregate.");
        var first = updates[0].Factors;
        if (updates.Any(update => update.Factors.Outputs != first.Outputs || update.Factors.Inputs != first.Inputs))
            throw new SoraException("LoRA updates of matrices of different shapes cannot be aggregated.", ExitCode.InvalidInput);
        if (updates.Any(update => !double.IsFinite(update.Weight) || update.Weight <= 0))
            throw new SoraException("Weights of LoRA updates must be positive and finite.", ExitCode.InvalidInput);
        return (first.Outputs, first.Inputs, updates.Sum(update => update.Weight));
    }
}
