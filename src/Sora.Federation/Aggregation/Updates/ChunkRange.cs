namespace Sora.Federation.Aggregation.Updates;

/// <summary>A run of chunks.</summary>
/// <param name="First">The first chunk.</param>
/// <param name="Count">How many.</param>
public readonly record struct ChunkRange(int First, int Count);
