using System.Threading.Channels;
using Microsoft.Extensions.Logging;
using Sora.Model.Training;
using Sora.Protocol.Api;
using Sora.Protocol.Exchange;
using Sora.Protocol.Generations;
using Sora.Protocol.Jobs;
using Sora.Protocol.Wire;
using Sora.Worker.Exchange;
using Sora.Worker.Work;

namespace Sora.Worker.Session;

/// <summary>
/// The shell of <see cref="WorkerProtocol"/>: one loop that takes what happens, lets the state machine decide, and does what it
/// says. What takes long runs elsewhere, tensors on the training thread, and comes back as an event.
/// </summary>
internal sealed partial class WorkerSession : IWorkReports
{
    private static readonly TimeSpan HeartbeatInterval = TimeSpan.FromSeconds(3);
    private static readonly TimeSpan FarewellTime = TimeSpan.FromSeconds(5);

    private readonly ICoordinatorStream _coordinator;
    private readonly IRunWork _work;
    private readonly TrainingThread _training;
    private readonly ExchangeListener _listener;
    private readonly Machine _machine;
    private readonly TimeProvider _time;
    private readonly ILogger _log;
    private readonly Channel<WorkerEvent> _events = Channel.CreateUnbounded<WorkerEvent>(new UnboundedChannelOptions { SingleReader = true });
    private readonly CancellationTokenSource _abandoned = new();
    private readonly CancellationTokenSource _gone = new();
    private readonly List<Task> _underWay = [];
    private volatile WorkerProtocolState _state;
    private volatile MeshExchange? _exchange;
    private volatile bool _open;
    private Proof? _proof;

    public WorkerSession(
        string worker, ICoordinatorStream coordinator, IRunWork work, TrainingThread training, ExchangeListener listener, Machine machine, TimeProvider time, ILogger log)
    {
        (_coordinator, _work, _training, _listener, _machine, _time, _log) = (coordinator, work, training, listener, machine, time, log);
        _state = new WorkerProtocolState(worker);
    }

    /// <summary>Tells the session what happens around it.</summary>
    public void Post(WorkerEvent happened) => _events.Writer.TryWrite(happened);

    /// <summary>Works until there is nothing more to do.</summary>
    /// <returns>The process's exit code.</returns>
    public async Task<int> RunAsync()
    {
        var listening = ListenAsync();
        WorkerEffect.Exit? exit = null;
        while (exit is null)
        {
            var happened = await _events.Reader.ReadAsync();
            var before = _state.Phase;
            (_state, var effects) = WorkerProtocol.Decide(_state, happened);
            if (_state.Phase != before)
                LogPhase(before, _state.Phase);
            foreach (var effect in effects)
            {
                if (effect is WorkerEffect.Exit last)
                    exit = last;
                else
                    Do(effect);
            }
        }
        if (exit.Message is not null)
            LogExit(exit.Code == ExitCode.Ok ? LogLevel.Information : LogLevel.Error, exit.Message, exit.Code);
        await EndAsync(listening);
        return exit.Code;
    }

    private void Do(WorkerEffect effect)
    {
        switch (effect)
        {
            case WorkerEffect.SendHello: _coordinator.Send(Hello()); _underWay.Add(BeatAsync()); break;
            case WorkerEffect.Prove prove: Start(0, () => ProveAsync(prove.Assignment)); break;
            case WorkerEffect.SendCanary canary: _coordinator.Send(Messages.Canary(canary, _listener.Endpoints)); break;
            case WorkerEffect.Join join: Start(join.Generation.Number, () => JoinAsync(join)); break;
            case WorkerEffect.SendReady ready: _coordinator.Send(Messages.Ready(ready)); break;
            case WorkerEffect.Train train: Start(train.Generation, () => TrainAsync(train.Generation)); break;
            case WorkerEffect.RequestStop stop: _work.RequestStop(stop.Checkpoint); break;
            case WorkerEffect.SendFinished finished: _coordinator.Send(Messages.Finished(finished)); break;
            case WorkerEffect.SendStopped stopped: _coordinator.Send(Messages.Stopped(stopped)); break;
            case WorkerEffect.SendFailed failed: _coordinator.Send(Messages.Failed(failed)); break;
            case WorkerEffect.Abandon abandon: Abandon(abandon.Reason); break;
            default: throw new ArgumentOutOfRangeException(nameof(effect), effect, "unknown effect");
        }
    }

    private async Task<WorkerEvent> ProveAsync(WorkerAssignment assignment)
    {
        _proof = await _training.RunAsync(() => _work.Prove(assignment, _abandoned.Token));
        return new WorkerEvent.Proved(assignment.Run, _proof.Canary, _proof.Parameters);
    }

    private async Task<WorkerEvent> JoinAsync(WorkerEffect.Join join)
    {
        var generation = join.Generation;
        var group = new ExchangeGroup(new ExchangeIdentity(generation.Run, generation.Number, generation.Members.Count, join.Rank, generation.Secret), generation.Members);
        var restoring = _training.RunAsync(() => _work.Restore(this));
        try
        {
            _exchange = await MeshExchange.ConnectAsync(group, _listener, _proof!.Parameters, _proof.PeerTimeout, _time, _log, _abandoned.Token);
        }
        finally
        {
            // A state that cannot be taken up is this worker's own fault and says more than a peer that has left over it.
            await restoring;
        }
        return new WorkerEvent.Joined(generation.Number, await restoring);
    }

    private async Task<WorkerEvent> TrainAsync(long generation)
    {
        var end = await _training.RunAsync(() =>
        {
            // The thread that uses the exchange ends it, so that its memory outlives every use.
            using var exchange = _exchange!;
            try
            {
                return _work.Train(exchange, writesCheckpoints: _state.Rank == 0, this);
            }
            catch (Exception e)
            {
                exchange.Leave(e.Message);
                throw;
            }
        });
        return end.Stopped
            ? new WorkerEvent.TrainingStopped(generation, end.Step, end.Checkpoint)
            : new WorkerEvent.TrainingFinished(generation, end.Step, end.WeightsSha256);
    }

    /// <summary>Runs work beside the loop; its result, or its failure, is an event.</summary>
    private void Start(long generation, Func<Task<WorkerEvent>> work)
    {
        _underWay.Add(RunToEventAsync());

        async Task RunToEventAsync()
        {
            try
            {
                Post(await work());
            }
            catch (Exception e) when (_abandoned.IsCancellationRequested)
            {
                LogAbandoned(e.Message);
            }
            catch (SoraException e)
            {
                Post(new WorkerEvent.WorkFailed(generation, e.Message, e.ToString(), e.ExitCode, PeerLost: false));
            }
            catch (ExchangeBrokenException e)
            {
                Post(new WorkerEvent.WorkFailed(generation, e.Message, e.ToString(), ExitCode.Failure, PeerLost: true));
            }
            catch (Exception e)
            {
                LogUnexpected(e);
                Post(new WorkerEvent.WorkFailed(generation, $"Unexpected {e.GetType().Name}: {e.Message}", e.ToString(), ExitCode.Failure, PeerLost: false));
            }
        }
    }

    private void Abandon(string reason)
    {
        _abandoned.Cancel();
        _exchange?.Leave(reason);
    }

    private async Task ListenAsync()
    {
        try
        {
            await _coordinator.OpenAsync(_gone.Token);
            _open = true;
            Post(new WorkerEvent.Connected());
            await foreach (var message in _coordinator.ReceiveAsync(_gone.Token))
            {
                if (Messages.Read(message) is { } happened)
                    Post(happened);
            }
            Post(new WorkerEvent.CoordinatorLost("it closed the stream."));
        }
        catch (CoordinatorLostException e)
        {
            Post(e.Refused ? new WorkerEvent.Refused(e.Message, ExitCode.Usage) : new WorkerEvent.CoordinatorLost(e.Message));
        }
        catch (OperationCanceledException) when (_gone.IsCancellationRequested)
        {
            // The session is over.
        }
        catch (Exception e)
        {
            LogUnexpected(e);
            Post(new WorkerEvent.CoordinatorLost($"unexpected {e.GetType().Name}: {e.Message}"));
        }
    }

    private async Task BeatAsync()
    {
        using var timer = new PeriodicTimer(HeartbeatInterval, _time);
        try
        {
            while (await timer.WaitForNextTickAsync(_abandoned.Token))
                _coordinator.Send(new FromWorker { Heartbeat = new Heartbeat { Step = (ulong)_state.Step } });
        }
        catch (OperationCanceledException) when (_abandoned.IsCancellationRequested)
        {
            // The session is over.
        }
    }

    /// <summary>Sends what is queued and lets the coordinator close the stream, so that it need not take this end for a loss.</summary>
    private async Task EndAsync(Task listening)
    {
        using var limit = new CancellationTokenSource(FarewellTime, _time);
        if (!_open)
            await _gone.CancelAsync();
        await _coordinator.CompleteAsync(limit.Token).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        await listening.WaitAsync(limit.Token).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        await _gone.CancelAsync();
        await Task.WhenAll(_underWay).WaitAsync(limit.Token).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        // Training disposes its exchange itself; this is for one that never began. A step still being computed keeps its memory.
        if (_underWay.TrueForAll(task => task.IsCompleted))
            _exchange?.Dispose();
    }

    private FromWorker Hello() => new()
    {
        Hello = new Hello
        {
            Worker = _state.Worker,
            ProtocolVersion = WorkerProtocol.Version,
            Host = Environment.MachineName,
            ProcessId = (uint)Environment.ProcessId,
            Device = _machine.Device,
            Threads = (uint)_machine.Threads,
            Libtorch = _machine.Libtorch,
            Numerics = _machine.Fingerprint,
        },
    };

    void IWorkReports.Step(StepResult step)
    {
        Post(new WorkerEvent.StepCommitted(_state.Generation, step.Step));
        if (_state.Rank == 0)
            _coordinator.Send(Messages.Step(_state.Run, _state.Generation, step));
    }

    void IWorkReports.Evaluation(EvaluationResult evaluation)
    {
        if (_state.Rank == 0)
            _coordinator.Send(Messages.Evaluation(_state.Run, _state.Generation, evaluation));
    }

    void IWorkReports.Checkpoint(long step, string path, string weightsSha256, TimeSpan duration) =>
        _coordinator.Send(Messages.Checkpoint(_state.Run, _state.Generation, step, path, weightsSha256, duration));

    void IWorkReports.Warning(string message)
    {
        if (_state.Rank == 0)
            _coordinator.Send(new FromWorker { Warning = new Warning { Message = message } });
    }

    [LoggerMessage(2000, LogLevel.Information, "{Before} -> {Now}")]
    private partial void LogPhase(WorkerPhase before, WorkerPhase now);

    [LoggerMessage(EventId = 2001, Message = "Ends with exit code {ExitCode}: {Message}")]
    private partial void LogExit(LogLevel level, string message, int exitCode);

    [LoggerMessage(2002, LogLevel.Error, "Unexpected error")]
    private partial void LogUnexpected(Exception exception);

    [LoggerMessage(2003, LogLevel.Debug, "Work given up: {Message}")]
    private partial void LogAbandoned(string message);
}
