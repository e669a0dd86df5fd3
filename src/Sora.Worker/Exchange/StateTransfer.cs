using Sora.Protocol.Exchange;
using Sora.Protocol.Jobs;
using Sora.Protocol.Wire;

namespace Sora.Worker.Exchange;

/// <summary>
/// Carries the state a generation begins with from the memory of those who hold it into the memory of those who do not. A
/// holder answers on the threads of the connection: its training thread has begun to compute meanwhile.
/// </summary>
internal sealed class StateTransfer(Collectives collectives, MeshPeers peers, StateRegions served)
{
    private StateFetch? _fetch;

    /// <summary>Others may take the state from here: the weights are still those the generation begins with.</summary>
    public bool Serving => served.Bytes > 0;

    /// <summary>This worker takes it from others, now.</summary>
    public bool Fetching => _fetch is { Complete: false };

    /// <summary>Blocks the calling thread until all of the state is in <paramref name="into"/>.</summary>
    public void Fetch(ExchangeGroup group, IReadOnlyList<int> holders, StateRegions into, CancellationToken cancellationToken)
    {
        if (holders.Count == 0 || holders.Distinct().Count() < holders.Count || holders.Any(rank => rank < 0 || rank >= group.Members.Count || rank == group.Rank))
            throw new ArgumentException($"Ranks [{string.Join(", ", holders)}] are not different peers of rank {group.Rank} of {group.Members.Count}.", nameof(holders));
        using var wakeUp = cancellationToken.UnsafeRegister(static peers => ((MeshPeers)peers!).WakeUp(), peers);
        lock (peers.Gate)
        {
            if (_fetch is not null || !collectives.NoneBegun)
                throw new InvalidOperationException("The state is taken over once, before the first collective.");
            _fetch = new StateFetch(into, holders, group.Members.Count);
            peers.ThrowIfClosed(_fetch);
            peers.Moved(wake: false);
            foreach (var holder in holders)
                Ask(holder);
            while (!_fetch.Complete)
            {
                cancellationToken.ThrowIfCancellationRequested();
                if (_fetch.Mismatch is { } other)
                    throw new SoraException(
                        $"{peers.Describe(other.Rank)} holds a state of {other.Bytes} bytes, the model here has one of {into.Bytes} bytes: they do not train the same model. Run the same version of sora, with the same job, everywhere.",
                        ExitCode.InvalidInput);
                peers.Wait(_fetch);
            }
        }
    }

    /// <summary>Where a chunk that was asked for goes. Needs the lock.</summary>
    public nint Place(int rank, in FrameHeader header) => _fetch!.Place(rank, header);

    /// <summary>Notes a chunk and asks for the next. Needs the lock.</summary>
    /// <returns>Whether it was the last.</returns>
    public bool Take(int rank)
    {
        _fetch!.Take(rank);
        Ask(rank);
        // Those who neither give nor take see nothing of this, and wait for this worker's first contribution.
        peers.SayProgress(collectives.Header(ExchangePhase.StateProgress, 0, default, 0, 0));
        return _fetch.Complete;
    }

    /// <summary>Notes that a holder's state has another size.</summary>
    public void TakeMismatch(int rank, in FrameHeader header)
    {
        lock (peers.Gate)
        {
            _fetch!.TakeMismatch(rank, header.Offset);
            peers.Moved(wake: true);
        }
    }

    /// <summary>Sends a piece of the state to who has asked for it.</summary>
    /// <exception cref="InvalidFrameException">No such piece can exist.</exception>
    public void Answer(int rank, in FrameHeader header, byte[] payload)
    {
        var (bytes, length) = StateRequestPayload.Read(payload, header.Offset);
        var mismatch = bytes != served.Bytes;
        var address = mismatch ? 0 : served.Find(header.Offset, length);
        byte[]? copy = null;
        if (mismatch)
            copy = [];
        else if (address == 0)
            served.CopyTo(header.Offset, copy = new byte[length]);
        lock (peers.Gate)
        {
            var answer = mismatch
                ? collectives.Header(ExchangePhase.StateMismatch, 0, default, served.Bytes, 0)
                : collectives.Header(ExchangePhase.StateChunk, 0, default, header.Offset, length);
            peers.Send(rank, answer, address, copy);
        }
    }

    private void Ask(int rank)
    {
        while (_fetch!.TryAsk(rank, out var offset, out var length))
        {
            var payload = StateRequestPayload.Write(_fetch.Bytes, length);
            peers.Send(rank, collectives.Header(ExchangePhase.StateRequest, 0, default, offset, payload.Length), 0, payload);
        }
    }
}
