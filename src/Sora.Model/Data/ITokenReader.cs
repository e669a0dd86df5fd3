namespace Sora.Model.Data;

/// <summary>A run of tokens in a shard of the training (or held-out) part.</summary>
internal readonly record struct TokenRange(bool Validation, int Shard, long Offset, int Count);

/// <summary>Where <see cref="PlannedBatches"/> takes tokens from.</summary>
internal interface ITokenReader : IDisposable
{
    /// <summary>Copies a run of tokens; may wait for them to arrive.</summary>
    void Read(TokenRange range, Span<int> tokens);

    /// <summary>Says what will be read soon, in that order. Never blocks; a newer announcement takes the place of an older one.</summary>
    void Announce(IEnumerable<TokenRange> ranges);

    /// <summary>Seconds <see cref="Read"/> has waited for tokens to arrive.</summary>
    double WaitSeconds { get; }
}

/// <summary>Reads the folder itself. The operating system's page cache does the rest.</summary>
internal sealed class LocalTokenReader(PreparedCorpus corpus) : ITokenReader
{
    public double WaitSeconds => 0;

    public void Read(TokenRange range, Span<int> tokens)
    {
        if (range.Validation) corpus.ReadValidation(range.Shard, range.Offset, tokens);
        else corpus.ReadTrain(range.Shard, range.Offset, tokens);
    }

    public void Announce(IEnumerable<TokenRange> ranges)
    {
    }

    public void Dispose() => corpus.Dispose();
}
