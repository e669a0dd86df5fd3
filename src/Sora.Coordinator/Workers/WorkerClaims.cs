using System.Diagnostics.CodeAnalysis;
using Akka.Actor;
using Sora.Protocol.Api;
using Sora.Protocol.Jobs;

namespace Sora.Coordinator.Workers;

/// <summary>A worker's name, claimed by one of its streams.</summary>
/// <param name="Connection">Which stream: drawn anew for each.</param>
/// <param name="Hello">Who the worker says it is.</param>
/// <param name="Session">The actor at the coordinator's end of the stream.</param>
internal sealed record WorkerClaim(string Connection, Hello Hello, IActorRef Session);

/// <summary>
/// Which stream speaks for which worker. The same process on a new stream supersedes its old one, which may be half open
/// for long. Another process of the same name has to wait until the holder is heard (then the name is taken twice) or lost
/// (then its stream is closed, and it dials again).
/// </summary>
internal sealed class WorkerClaims
{
    private readonly Dictionary<string, WorkerClaim> _holders = new(StringComparer.Ordinal);
    private readonly Dictionary<string, WorkerClaim> _contenders = new(StringComparer.Ordinal);

    /// <returns>Whether the stream speaks for the worker now.</returns>
    public bool Claim(WorkerClaim claim)
    {
        var worker = claim.Hello.Worker;
        if (!_holders.TryGetValue(worker, out var holder) || holder.Hello.Incarnation == claim.Hello.Incarnation)
        {
            if (holder is not null && holder.Connection != claim.Connection)
                holder.Session.Tell(CloseStream.Instance);
            _holders[worker] = claim;
            return true;
        }
        if (_contenders.TryGetValue(worker, out var earlier) && earlier.Connection != claim.Connection)
            earlier.Session.Tell(CloseStream.Instance);
        _contenders[worker] = claim;
        holder.Session.Tell(ProveAlive.Instance);
        return false;
    }

    /// <summary>Nobody speaks for anybody any more; who waited to is to dial again.</summary>
    public void Clear()
    {
        foreach (var contender in _contenders.Values)
            contender.Session.Tell(CloseStream.Instance);
        _contenders.Clear();
        _holders.Clear();
    }

    public bool Holds(string worker, string connection) => _holders.TryGetValue(worker, out var holder) && holder.Connection == connection;

    public bool Contends(string worker, string connection) => _contenders.TryGetValue(worker, out var contender) && contender.Connection == connection;

    public bool TryFind(string worker, [NotNullWhen(true)] out WorkerClaim? holder) => _holders.TryGetValue(worker, out holder);

    /// <summary>What a session that ended had a claim to.</summary>
    public WorkerClaim? Find(IActorRef session) =>
        _holders.Values.Concat(_contenders.Values).FirstOrDefault(claim => claim.Session.Equals(session));

    /// <summary>The holder is alive and well: whoever contends has made a mistake.</summary>
    public void HolderIsAlive(ProvedAlive proof)
    {
        if (Holds(proof.Worker, proof.Connection) && _contenders.Remove(proof.Worker, out var contender))
            contender.Session.Tell(new TurnAway($"A worker called '{proof.Worker}' is connected already. Give each worker process its own id.", ExitCode.Usage));
    }

    /// <returns>Whether the stream spoke for the worker until now.</returns>
    public bool Release(string worker, string connection)
    {
        if (!Holds(worker, connection))
        {
            if (Contends(worker, connection))
                _contenders.Remove(worker);
            return false;
        }
        _holders.Remove(worker);
        if (_contenders.Remove(worker, out var contender))
            contender.Session.Tell(CloseStream.Instance);
        return true;
    }
}
