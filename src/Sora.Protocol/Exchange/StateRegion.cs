namespace Sora.Protocol.Exchange;

/// <summary>
/// A part of the replicated state, weights or optimizer state, in host memory. The state of a run is a list of them: every
/// worker has as many bytes in the same order, however they are cut into regions.
/// </summary>
/// <param name="Address">Where it begins.</param>
/// <param name="Bytes">How long it is; may be 0.</param>
public readonly record struct StateRegion(nint Address, long Bytes);
