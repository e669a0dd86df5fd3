using System.IO.Hashing;
using System.Text;
using Sora.Protocol.Generations;

namespace Sora.Protocol.Wire;

/// <summary>What a frame says about its payload.</summary>
/// <param name="Run">Key of the run, see <see cref="RunKey"/>.</param>
/// <param name="Generation">Generation the sender is in.</param>
/// <param name="Sequence">Number of the collective inside the generation, from 0: what makes a frame stale or early.</param>
/// <param name="Step">Step being evaluated; checked against the receiver's own.</param>
/// <param name="Phase">What the frame is for.</param>
/// <param name="Chunk">Rank that owns the chunk the payload belongs to.</param>
/// <param name="Node">Subtree whose sum the payload is a piece of.</param>
/// <param name="Offset">First element of the flat gradient, or byte of the state, the payload holds.</param>
/// <param name="PayloadBytes">Bytes that follow the head.</param>
public readonly record struct FrameHeader(
    ulong Run, long Generation, long Sequence, long Step, ExchangePhase Phase, int Chunk, LaneRange Node, long Offset, int PayloadBytes)
{
    /// <summary>A run's id as eight bytes: enough to tell runs apart by accident; the handshake tells them apart for certain.</summary>
    public static ulong RunKey(string run) => XxHash3.HashToUInt64(Encoding.UTF8.GetBytes(run));
}
