namespace Sora.Federation.Aggregation;

/// <summary>What updates a round takes.</summary>
/// <param name="Round">The round's number.</param>
/// <param name="Sites">The sites that were asked.</param>
public sealed record RoundTerms(long Round, IReadOnlySet<string> Sites)
{
    /// <summary>How many rounds ago a site may have begun: 0 in synchronous rounds, more under FedBuff.</summary>
    public int MaxStaleness { get; init; }

    /// <summary>The largest weight a site may claim, so that none can outweigh all others by its word alone.</summary>
    public double MaxWeight { get; init; } = Sums.ExactSum.MaxWeight;

    /// <summary>Encodings that are taken.</summary>
    public IReadOnlyList<Updates.UpdateEncoding> Encodings { get; init; } =
        [Updates.UpdateEncoding.Float32, Updates.UpdateEncoding.Float16, Updates.UpdateEncoding.Int8];
}
