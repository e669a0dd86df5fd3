namespace Sora.Model.Data.Sources;

/// <summary>One file, download or built-in text. Reading it twice gives the same batches.</summary>
internal abstract class CorpusInput
{
    /// <summary>Text in a batch, about: small enough to keep all cores busy to the end, large enough that handing it over costs nothing.</summary>
    public const int BatchBytes = 256 << 10;

    /// <summary>Names the input in messages.</summary>
    public abstract string Name { get; }

    /// <summary>Its size on disk; for progress.</summary>
    public abstract long Bytes { get; }

    /// <summary>Changes whenever the content may have changed; part of the cache key.</summary>
    public abstract string Stamp { get; }

    /// <summary>The text, in order.</summary>
    public abstract IAsyncEnumerable<TextBatch> ReadAsync(CancellationToken cancellationToken);
}
