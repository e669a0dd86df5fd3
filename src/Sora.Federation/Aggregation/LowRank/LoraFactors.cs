using Sora.Protocol.Jobs;

namespace Sora.Federation.Aggregation.LowRank;

/// <summary>One adapter of one weight matrix: the change of the matrix is <c>Scale x B A</c>.</summary>
public sealed class LoraFactors
{
    /// <summary>Creates an adapter; the arrays are row-major and not copied.</summary>
    /// <param name="outputs">Rows of the adapted matrix.</param>
    /// <param name="inputs">Columns of the adapted matrix.</param>
    /// <param name="rank">The rank r.</param>
    /// <param name="b">B [outputs, rank].</param>
    /// <param name="a">A [rank, inputs].</param>
    /// <param name="scale">What the product is multiplied by (usually alpha / r).</param>
    public LoraFactors(int outputs, int inputs, int rank, float[] b, float[] a, double scale = 1)
    {
        if (outputs < 1 || inputs < 1 || rank < 1 || b.LongLength != (long)outputs * rank || a.LongLength != (long)rank * inputs)
            throw new SoraException($"B [{outputs}, {rank}] and A [{rank}, {inputs}] do not hold {b.Length} and {a.Length} values.", ExitCode.InvalidInput);
        if (!double.IsFinite(scale) || !b.All(float.IsFinite) || !a.All(float.IsFinite))
            throw new SoraException("A LoRA adapter holds a value that is not finite.", ExitCode.InvalidInput);
        (Outputs, Inputs, Rank, B, A, Scale) = (outputs, inputs, rank, b, a, scale);
    }

    /// <summary>Rows of the adapted matrix.</summary>
    public int Outputs { get; }

    /// <summary>Columns of the adapted matrix.</summary>
    public int Inputs { get; }

    /// <summary>The rank.</summary>
    public int Rank { get; }

    /// <summary>B [outputs, rank], row-major.</summary>
    public float[] B { get; }

    /// <summary>A [rank, inputs], row-major.</summary>
    public float[] A { get; }

    /// <summary>What the product is multiplied by.</summary>
    public double Scale { get; }
}
