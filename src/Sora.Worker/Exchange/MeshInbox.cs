using Sora.Protocol.Wire;

namespace Sora.Worker.Exchange;

/// <summary>What the connections of a mesh bring, sorted: gradients and totals to the collectives, state to its transfer.</summary>
internal sealed class MeshInbox(ExchangeGroup group, Collectives collectives, MeshPeers peers, StateTransfer state) : IFrameSink
{
    nint IFrameSink.Place(PeerConnection peer, in FrameHeader header)
    {
        lock (peers.Gate)
        {
            if (!Admits(header))
                return 0;
            return header.Phase is ExchangePhase.StateChunk ? state.Place(peer.Rank, header) : collectives.Place(peer.Rank, header);
        }
    }

    void IFrameSink.Arrived(PeerConnection peer, in FrameHeader header)
    {
        lock (peers.Gate)
            peers.Moved(wake: header.Phase is ExchangePhase.StateChunk ? state.Take(peer.Rank) : collectives.Take(peer.Rank, header));
    }

    void IFrameSink.Arrived(PeerConnection peer, in FrameHeader header, byte[] payload)
    {
        if (header.Phase is ExchangePhase.StateRequest or ExchangePhase.StateMismatch or ExchangePhase.StateProgress)
        {
            lock (peers.Gate)
            {
                if (!Admits(header))
                    return;
                peers.Moved(wake: false);
            }
            if (header.Phase is ExchangePhase.StateRequest)
                state.Answer(peer.Rank, header, payload);
            else if (header.Phase is ExchangePhase.StateMismatch)
                state.TakeMismatch(peer.Rank, header);
            return;
        }
        var (totals, stopRequested) = TotalsPayload.Read(payload, group.Members[peer.Rank].Lanes);
        lock (peers.Gate)
        {
            if (Admits(header))
                peers.Moved(wake: collectives.TakeTotals(peer.Rank, header, totals, stopRequested));
        }
    }

    void IFrameSink.Sent(PeerConnection peer) => peers.Sent(peer.Rank);

    void IFrameSink.CannotSend(PeerConnection peer) => peers.CannotSend(peer.Rank);

    void IFrameSink.Lost(PeerConnection peer, string reason, bool saidGoodbye) => peers.Lost(peer.Rank, reason, saidGoodbye);

    private bool Admits(in FrameHeader header) => !peers.Closed && collectives.Admits(header, state.Serving, state.Fetching);
}
