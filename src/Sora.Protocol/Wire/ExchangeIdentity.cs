namespace Sora.Protocol.Wire;

/// <summary>Who takes part in a generation's exchange, and what proves it.</summary>
/// <param name="Run">Run id.</param>
/// <param name="Generation">Generation number.</param>
/// <param name="Workers">Workers of the generation.</param>
/// <param name="Rank">This worker's rank.</param>
/// <param name="Secret">The generation's secret; never sent.</param>
public sealed record ExchangeIdentity(string Run, long Generation, int Workers, int Rank, ReadOnlyMemory<byte> Secret);
