using Microsoft.Extensions.Logging;
using Sora.Model.Training;
using Sora.Protocol.Exchange;
using Sora.Protocol.Generations;
using Sora.Protocol.Wire;
using Sora.Worker.Exchange;

namespace Sora.Worker.Work;

/// <summary>
/// This worker's part in one generation: connecting, taking up the state, computing. It can be told from any thread to halt,
/// after a step or at once; how it ends is an event, and nothing of it goes on then.
/// </summary>
internal sealed partial class GenerationWork(
    WorkerGeneration generation, int rank, Proof proof, IRunWork work, TrainingThread training, ExchangeListener listener,
    IWorkReports reports, TimeProvider time, ILogger log)
{
    private static readonly TimeSpan NoticeableWait = TimeSpan.FromSeconds(1);
    private readonly Lock _gate = new();
    private readonly CancellationTokenSource _brokenOff = new();
    private MeshExchange? _exchange;
    private volatile string? _breakOffReason;
    private volatile bool _haltRequested;

    public long Number => generation.Number;

    /// <summary>Lets all members halt after the step being computed.</summary>
    public void HaltAfterStep() => _haltRequested = true;

    /// <summary>Ids of peers that keep the exchange back, when nothing has moved in it for a moment.</summary>
    public IReadOnlyList<string> WaitsFor()
    {
        lock (_gate)
            return _exchange?.WaitsFor(NoticeableWait) ?? [];
    }

    /// <summary>Ends joining or computing at once, and tells the peers why. Returns when the exchange is quiet, which may take a moment.</summary>
    public void BreakOff(string reason)
    {
        MeshExchange? exchange;
        lock (_gate)
        {
            _breakOffReason ??= reason;
            exchange = _exchange;
        }
        _brokenOff.Cancel();
        exchange?.Leave(reason);
    }

    /// <summary>Connects the peers and takes up the state of the first step.</summary>
    public Task<WorkerEvent?> JoinAsync() => UntilHaltAsync(async () =>
    {
        LogJoining(Number, rank, generation.Members.Count, generation.Members[rank].Lanes.Count, generation.Members[^1].Lanes.End, generation.FirstStep, SourceOfState());
        var holds = generation.Holders.Contains(rank);
        var served = holds ? await training.RunAsync(ServedState) : [];
        var restoring = generation.Holders.Count > 0 ? Task.CompletedTask : training.RunAsync(() =>
        {
            work.Restore(generation.RestoreFrom, generation.FirstStep);
            return true;
        });
        try
        {
            Keep(await MeshExchange.ConnectAsync(Group(), listener, proof.Parameters, served, proof.PeerTimeout, time, log, _brokenOff.Token));
        }
        finally
        {
            // A state that cannot be taken up is this worker's own fault and says more than a peer that has left over it.
            await restoring;
        }
        if (!holds && generation.Holders.Count > 0)
            await training.RunAsync(TakeOver);
        return new WorkerEvent.Joined(Number, work.HeldStep);
    }, endsExchange: false);

    /// <summary>Computes, once <see cref="JoinAsync"/> has succeeded.</summary>
    public Task<WorkerEvent?> TrainAsync() => UntilHaltAsync(async () =>
    {
        var end = await training.RunAsync(() =>
        {
            try
            {
                return work.Train(generation, _exchange!, rank, () => _haltRequested, reports);
            }
            catch (Exception e)
            {
                _exchange!.Leave(e.Message);
                throw;
            }
        });
        return end.Halted
            ? new WorkerEvent.WorkHalted(Number, end.Step, "", [])
            : new WorkerEvent.TrainingFinished(Number, end.Step, end.WeightsSha256);
    }, endsExchange: true);

    /// <summary>Ends the exchange, if it is still there, on the thread that uses it: so its memory outlives every use.</summary>
    public Task EndExchangeAsync() => training.RunAsync(() =>
    {
        MeshExchange? exchange;
        lock (_gate)
            (exchange, _exchange) = (_exchange, null);
        exchange?.Dispose();
        return true;
    });

    private async Task<WorkerEvent?> UntilHaltAsync(Func<Task<WorkerEvent>> part, bool endsExchange)
    {
        var whole = false;
        try
        {
            var result = await part();
            whole = true;
            return result;
        }
        catch (Exception e) when (e is ExchangeBrokenException || (e is OperationCanceledException && _brokenOff.IsCancellationRequested))
        {
            LogBroken(Number, e.Message);
            // Whoever was told to leave has nobody to accuse: the others are leaving too.
            return _breakOffReason is not null
                ? new WorkerEvent.WorkHalted(Number, work.HeldStep, "", [])
                : new WorkerEvent.WorkHalted(Number, work.HeldStep, e.Message, (e as ExchangeBrokenException)?.Suspects ?? []);
        }
        catch (NotFiniteException e)
        {
            LogBroken(Number, e.Message);
            return new WorkerEvent.WorkHalted(Number, work.HeldStep, e.Message, [], e.Lanes);
        }
        finally
        {
            if (endsExchange || !whole)
                await EndExchangeAsync();
        }
    }

    private void Keep(MeshExchange exchange)
    {
        lock (_gate)
            _exchange = exchange;
        // It may have been told to break off while there was nothing to leave yet.
        if (_breakOffReason is { } reason)
            exchange.Leave(reason);
    }

    private IReadOnlyList<StateRegion> ServedState() => work.HeldStep == generation.FirstStep
        ? work.StateRegions()
        : throw new InvalidOperationException($"Generation {Number} counts on this worker to hold the state of step {generation.FirstStep}; it holds that of {work.HeldStep}.");

    private bool TakeOver()
    {
        var started = time.GetTimestamp();
        LogTakingOver(generation.FirstStep);
        work.TakeOver(generation.FirstStep, into =>
        {
            _exchange!.FetchState(generation.Holders, into, _brokenOff.Token);
            var elapsed = time.GetElapsedTime(started);
            LogTakenOver(generation.FirstStep, into.Sum(region => region.Bytes) >> 20, elapsed.TotalSeconds);
        });
        return true;
    }

    private ExchangeGroup Group() =>
        new(new ExchangeIdentity(generation.Run, Number, generation.Members.Count, rank, generation.Secret), generation.Members);

    private string SourceOfState() =>
        generation.Holders.Contains(rank) ? "holds the state"
        : generation.Holders.Count > 0 ? $"takes the state from {string.Join(", ", generation.Holders.Select(holder => generation.Members[holder].Worker))}"
        : generation.RestoreFrom.Length > 0 ? $"reads {generation.RestoreFrom}"
        : "begins with the initial weights";

    [LoggerMessage(2300, LogLevel.Information, "Generation {Generation}: rank {Rank} of {Members}, {Lanes} of {AllLanes} lanes, from step {Step}, {Source}")]
    private partial void LogJoining(long generation, int rank, int members, int lanes, int allLanes, long step, string source);

    [LoggerMessage(2301, LogLevel.Information, "The state of step {Step} is taken over: {Megabytes} MiB in {Seconds:0.00} s")]
    private partial void LogTakenOver(long step, long megabytes, double seconds);

    [LoggerMessage(2302, LogLevel.Warning, "Generation {Generation} ends here: {Reason}")]
    private partial void LogBroken(long generation, string reason);

    [LoggerMessage(2303, LogLevel.Debug, "The state of step {Step} is being taken over")]
    private partial void LogTakingOver(long step);
}
