using System.Threading.Channels;
using Microsoft.Extensions.Logging;
using Sora.Model.Checkpoints;
using Sora.Model.Training;
using Sora.Protocol.Api;
using Sora.Protocol.Generations;
using Sora.Protocol.Jobs;
using Sora.Worker.Exchange;
using Sora.Worker.Work;

namespace Sora.Worker.Session;

/// <summary>
/// The shell of <see cref="WorkerProtocol"/>: one loop that takes what happens, lets the state machine decide, and does what it
/// says. What takes long runs elsewhere, tensors on the training thread, and comes back into the loop, which alone touches
/// what is below. Streams come and go meanwhile; work does not depend on them.
/// </summary>
internal sealed partial class WorkerSession : ILinkOwner
{
    private static readonly TimeSpan HeartbeatInterval = TimeSpan.FromSeconds(1);
    private static readonly TimeSpan FarewellTime = TimeSpan.FromSeconds(5);

    private readonly WorkerOptions _options;
    private readonly ICoordinatorDialer _dialer;
    private readonly IRunWork _work;
    private readonly TrainingThread _training;
    private readonly ExchangeListener _listener;
    private readonly Hello _introduction;
    private readonly ILogger _log;
    private readonly Channel<Action> _inbox = Channel.CreateUnbounded<Action>(new UnboundedChannelOptions { SingleReader = true });
    private readonly CancellationTokenSource _abandoned = new();
    private readonly CancellationTokenSource _ended = new();
    private readonly List<Task> _underWay = [];
    private readonly ReportMemory _reports;
    private volatile WorkerProtocolState _state;
    private WorkerEffect.Exit? _exit;
    private ICoordinatorStream? _stream;
    private Proof? _proof;
    private GenerationWork? _generation;
    private (long ReportedStep, long EvaluatedStep)? _untoldAfter;
    private FromWorker? _checkpoint;
    private bool _reporting;
    private Heartbeat _pace = new();

    public WorkerSession(
        string worker, ICoordinatorDialer dialer, IRunWork work, TrainingThread training, ExchangeListener listener, Machine machine, WorkerOptions options, ILogger log)
    {
        (_dialer, _work, _training, _listener, _options, _log) = (dialer, work, training, listener, options, log);
        _state = new WorkerProtocolState(worker);
        _reports = new ReportMemory(options.Time);
        _introduction = new Hello
        {
            Worker = worker,
            ProtocolVersion = WorkerProtocol.Version,
            Host = Environment.MachineName,
            ProcessId = (uint)Environment.ProcessId,
            Device = machine.Device,
            Threads = (uint)machine.Threads,
            Libtorch = machine.Libtorch,
            Numerics = machine.Fingerprint,
            Incarnation = Guid.NewGuid().ToString("n"),
        };
    }

    /// <summary>Who has work waits longer: its peers and its state are worth it.</summary>
    TimeSpan ILinkOwner.Patience => _state.Phase == WorkerPhase.Idle ? _options.ConnectTimeout : _options.ReconnectLimit;

    /// <summary>Tells the session what happens around it.</summary>
    public void Post(WorkerEvent happened) => Post(() => Handle(happened));

    /// <summary>Works until there is nothing more to do.</summary>
    /// <returns>The process's exit code.</returns>
    public async Task<int> RunAsync()
    {
        var linking = new CoordinatorLink(_dialer, this, _options.Random, _options.Time, _log).RunAsync(_abandoned.Token, _ended.Token);
        _underWay.Add(BeatAsync());
        while (_exit is null)
            (await _inbox.Reader.ReadAsync())();
        if (_exit.Message is not null)
            LogExit(_exit.Code == ExitCode.Ok ? LogLevel.Information : LogLevel.Error, _exit.Message, _exit.Code);
        await EndAsync(linking);
        return _exit.Code;
    }

    private void Post(Action action) => _inbox.Writer.TryWrite(action);

    private void Handle(WorkerEvent happened)
    {
        var before = _state.Phase;
        (_state, var effects) = WorkerProtocol.Decide(_state, happened);
        if (_state.Phase != before)
            LogPhase(before, _state.Phase);
        foreach (var effect in effects)
            Do(effect);
    }

    private void Do(WorkerEffect effect)
    {
        if (WorkerMessages.Write(effect, _introduction, _listener.Endpoints) is { } message)
            Send(message);
        switch (effect)
        {
            case WorkerEffect.SendHello: TellAgain(); break;
            case WorkerEffect.SendReady: TellUntold(); break;
            case WorkerEffect.Prove prove: Start(0, () => ProveAsync(prove.Assignment)); break;
            case WorkerEffect.Join join: Start(join.Generation.Number, Join(join).JoinAsync); break;
            case WorkerEffect.Train train: Start(train.Generation, _generation!.TrainAsync); break;
            case WorkerEffect.HaltAfterStep: _generation!.HaltAfterStep(); break;
            case WorkerEffect.BreakOff breakOff: BreakOff(breakOff.Reason); break;
            case WorkerEffect.Save save: Start(_state.Generation, () => SaveAsync(save.Step)); break;
            case WorkerEffect.Abandon abandon: Abandon(abandon.Reason); break;
            case WorkerEffect.Exit exit: _exit = exit; break;
        }
    }

    /// <returns>Whether there is a stream; what is sent may still be lost on it.</returns>
    private bool Send(FromWorker message)
    {
        _stream?.Send(message);
        return _stream is not null;
    }

    /// <summary>On a new stream, and before anything else: what the last one may have swallowed.</summary>
    private void TellAgain()
    {
        if (_untoldAfter is not null)
            TellUntold();
        else if (_reporting)
            SendReports(_reports.Undelivered());
        if (_checkpoint is not null)
            Send(Messages.Again(_checkpoint, _state.Generation));
    }

    /// <summary>In a new generation: what its reporter remembers and the ones before did not tell.</summary>
    private void TellUntold()
    {
        if (_stream is null || _untoldAfter is not { } after)
            return;
        _untoldAfter = null;
        if (_reporting)
            SendReports(_reports.Untold(after.ReportedStep, after.EvaluatedStep));
    }

    private void SendReports(IEnumerable<FromWorker> reports)
    {
        foreach (var report in reports)
            Send(Messages.Again(report, _state.Generation));
    }

    private void Report(FromWorker report) => _reports.Add(report, sent: _reporting && Send(report));

    private async Task<WorkerEvent?> ProveAsync(WorkerAssignment assignment)
    {
        var proof = await _training.RunAsync(() => _work.Prove(assignment, _abandoned.Token));
        Post(() => _proof = proof);
        return new WorkerEvent.Proved(assignment.Run, proof.Canary, proof.Parameters);
    }

    private GenerationWork Join(WorkerEffect.Join join)
    {
        // If the run went back, the steps after will come, and be reported, once more.
        _reports.ForgetAfter(join.Generation.FirstStep);
        _untoldAfter = (join.Generation.ReportedStep, join.Generation.EvaluatedStep);
        _reporting = join.Rank == join.Generation.Reporter;
        // Other lanes take other times.
        _pace = new Heartbeat();
        return _generation = new GenerationWork(join.Generation, join.Rank, _proof!, _work, _training, _listener, new Reports(this, _state.Run, join.Generation.Number), _options.Time, _log);
    }

    private Task<WorkerEvent?> SaveAsync(long step)
    {
        var reports = new Reports(this, _state.Run, _state.Generation);
        return _training.RunAsync<WorkerEvent?>(() =>
        {
            _work.Save(step, reports);
            return null;
        });
    }

    private void BreakOff(string reason)
    {
        // Saying goodbye to peers that do not listen takes time the loop does not have.
        if (_generation is { } generation)
            _underWay.Add(Task.Run(() => generation.BreakOff(reason)));
    }

    private void Abandon(string reason)
    {
        _abandoned.Cancel();
        BreakOff(reason);
    }

    /// <summary>Runs work beside the loop; its result, or its failure, is an event.</summary>
    private void Start(long generation, Func<Task<WorkerEvent?>> work)
    {
        _underWay.RemoveAll(task => task.IsCompleted);
        _underWay.Add(RunToEventAsync());

        async Task RunToEventAsync()
        {
            try
            {
                if (await work() is { } happened)
                    Post(happened);
            }
            catch (Exception e) when (_abandoned.IsCancellationRequested)
            {
                LogAbandoned(e.Message);
            }
            catch (SoraException e)
            {
                Post(new WorkerEvent.WorkFailed(generation, e.Message, e.ToString(), e.ExitCode, CannotSave: e is CheckpointWriteException));
            }
            catch (Exception e)
            {
                LogUnexpected(e);
                Post(new WorkerEvent.WorkFailed(generation, $"Unexpected {e.GetType().Name}: {e.Message}", e.ToString(), ExitCode.Failure));
            }
        }
    }

    private async Task BeatAsync()
    {
        using var timer = new PeriodicTimer(HeartbeatInterval, _options.Time);
        try
        {
            while (await timer.WaitForNextTickAsync(_abandoned.Token))
                Post(Beat);
        }
        catch (OperationCanceledException) when (_abandoned.IsCancellationRequested)
        {
            // The session is over.
        }
    }

    private void Beat()
    {
        (_pace.Step, _pace.Generation) = ((ulong)Math.Max(0, _state.Step), (ulong)_state.Generation);
        _pace.WaitsFor.Clear();
        _pace.WaitsFor.Add(_generation?.WaitsFor() ?? []);
        if (Send(new FromWorker { Heartbeat = _pace }))
            _pace = new Heartbeat();
    }

    private void Committed(long generation, long step, double computeSeconds, double waitSeconds)
    {
        _pace.Steps++;
        _pace.ComputeSeconds += computeSeconds;
        _pace.WaitSeconds += waitSeconds;
        Handle(new WorkerEvent.StepCommitted(generation, step));
    }

    /// <summary>Sends what is queued and lets the coordinator close the stream, so that it need not take this end for a loss.</summary>
    private async Task EndAsync(Task linking)
    {
        using var limit = new CancellationTokenSource(FarewellTime, _options.Time);
        if (_stream is { } stream)
        {
            await stream.CompleteAsync(limit.Token).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            await linking.WaitAsync(limit.Token).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        }
        await _ended.CancelAsync();
        await Task.WhenAll([.. _underWay, linking]).WaitAsync(limit.Token).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        // Work ends its exchange itself; this is for one that never began.
        if (_generation is not null)
            await _generation.EndExchangeAsync().WaitAsync(limit.Token).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
    }

    void ILinkOwner.Linked(ICoordinatorStream stream) => Post(() =>
    {
        _stream = stream;
        Handle(new WorkerEvent.Connected());
    });

    void ILinkOwner.Unlinked(string reason) => Post(() =>
    {
        _stream = null;
        _reports.Broke();
        Handle(new WorkerEvent.Disconnected(reason));
    });

    bool ILinkOwner.Heard(FromCoordinator message)
    {
        if (WorkerMessages.Read(message) is { } happened)
            Post(happened);
        return true;
    }

    void ILinkOwner.TurnedAway(string reason) => Post(new WorkerEvent.Refused(reason, ExitCode.Usage));

    void ILinkOwner.GaveUp(string reason) => Post(new WorkerEvent.CoordinatorGone(reason));

    /// <summary>Brings what the work of a generation tells into the loop.</summary>
    private sealed class Reports(WorkerSession session, string run, long generation) : IWorkReports
    {
        public void Committed(long step, double computeSeconds, double waitSeconds)
        {
            session.LogCommitted(step);
            session.Post(() => session.Committed(generation, step, computeSeconds, waitSeconds));
        }

        public void StateHash(long step, string hash) => session.Post(() =>
            session.Send(new FromWorker { StateHash = new Protocol.Api.StateHash { Run = run, Generation = (ulong)generation, Step = (ulong)step, Hash = hash } }));

        public void Step(StepResult step) => session.Post(() => session.Report(Messages.Step(run, generation, step)));

        public void Evaluation(EvaluationResult evaluation) => session.Post(() => session.Report(Messages.Evaluation(run, generation, evaluation)));

        public void Checkpoint(long step, string path, string weightsSha256, TimeSpan duration) => session.Post(() =>
        {
            session._checkpoint = Messages.Checkpoint(run, generation, step, path, weightsSha256, duration);
            session.Send(session._checkpoint);
        });

        public void NoCheckpoint(long step, string reason) => session.Post(() => session.Send(Messages.NoCheckpoint(run, generation, step, reason)));

        public void Warning(string message) => session.Post(() => session.Send(new FromWorker { Warning = new Warning { Message = message } }));
    }

    [LoggerMessage(2000, LogLevel.Information, "{Before} -> {Now}")]
    private partial void LogPhase(WorkerPhase before, WorkerPhase now);

    [LoggerMessage(EventId = 2001, Message = "Ends with exit code {ExitCode}: {Message}")]
    private partial void LogExit(LogLevel level, string message, int exitCode);

    [LoggerMessage(2002, LogLevel.Error, "Unexpected error")]
    private partial void LogUnexpected(Exception exception);

    [LoggerMessage(2003, LogLevel.Debug, "Work given up: {Message}")]
    private partial void LogAbandoned(string message);

    [LoggerMessage(2004, LogLevel.Debug, "{Steps} steps are committed")]
    private partial void LogCommitted(long steps);
}
