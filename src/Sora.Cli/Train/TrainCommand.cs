using Microsoft.Extensions.Logging.Abstractions;
using Sora.Cli.Data;
using Sora.Cli.Display;
using Sora.Cli.Shell;
using Sora.Cli.Worker;
using Sora.Coordinator;
using Sora.Model.Checkpoints;
using Sora.Model.Checkpoints.Storage;
using Sora.Model.Data;
using Sora.Model.Tokenization;
using Sora.Protocol.Jobs;
using Sora.Protocol.Runs;

namespace Sora.Cli.Train;

/// <summary>
/// <c>sora train</c>: data, then a coordinator in this process, worker processes beside it, and the run between them.
/// Everything that can be refused is refused before anything is written.
/// </summary>
internal sealed class TrainCommand(LoadedJob loaded, TrainOptions options, GuardedDisplay display, TimeProvider clock)
{
    private const string StateFolder = "coordinator";

    private static readonly TimeSpan WorkerGrace = TimeSpan.FromSeconds(10);
    private static readonly TimeSpan RangePatience = TimeSpan.FromSeconds(10);

    private readonly TrainingJob _job = loaded.Job;

    /// <summary>Shows what the run would take, after the checks the run makes. Nothing is prepared or written.</summary>
    /// <returns>The exit code.</returns>
    public async Task<int> PlanAsync()
    {
        Warn(loaded.Warnings);
        var workers = WorkerCount.Of(_job);
        var (local, _) = Local(workers.Most);
        var resume = Resume(fetch: false);
        using var corpus = await CorpusCache.FindAsync(_job.Data, _job.Tokenizer);
        var vocabSize = corpus?.Manifest.Tokenizer.VocabSize ?? VocabSize(_job.Tokenizer);
        if (corpus is not null) Open(resume, corpus);
        var plan = Plan(workers, NetworkSize.Of(_job, vocabSize), vocabSize, corpus?.Manifest.Train.Tokens);
        display.Show(plan);
        CheckMemory(plan, local);
        return ExitCode.Ok;
    }

    /// <summary>Trains.</summary>
    /// <returns>The exit code.</returns>
    public async Task<int> RunAsync()
    {
        Warn(loaded.Warnings);
        var workers = WorkerCount.Of(_job);
        var (local, token) = Local(workers.Most);
        using var output = OutputFolder.Open(_job.OutputDir);
        Attempt? attempt = null;
        using var signals = new StopSignals(code =>
        {
            attempt?.Processes?.Kill();
            Environment.Exit(code);
        });
        attempt = new Attempt(workers, local, token, output, signals);
        display.WhenLost = lost => signals.Ask("the output was lost", lost.ExitCode);
        try
        {
            if (display.Lost is { } early) throw early;
            return options.Coordinators.Count > 0 ? await RunElsewhereAsync(attempt) : await PrepareAsync(attempt, submission => RunHereAsync(attempt, submission));
        }
        catch (OperationCanceledException) when (signals.Asked.IsCompleted)
        {
            display.Show(new RunStopped(0, null, $"{await signals.Asked} before the first step; nothing was computed"));
            return signals.ExitCode;
        }
        finally
        {
            display.WhenLost = null; // nothing is left to stop
            attempt.Processes?.Dispose();
            if (!attempt.Began) output.TakeBack(StateFolder);
        }
    }

    /// <summary>What the ways to run a job have in common.</summary>
    private sealed record Attempt(WorkerRange Workers, int Local, string Token, OutputFolder Output, StopSignals Signals)
    {
        /// <summary>Workers on this machine, once they are started.</summary>
        public WorkerProcesses? Processes { get; set; }

        /// <summary>Something was begun: what was written stays.</summary>
        public bool Began { get; set; }
    }

    /// <summary>A coordinator in this process, which ends with it.</summary>
    private async Task<int> RunHereAsync(Attempt attempt, RunSubmission submission)
    {
        var output = attempt.Output;
        await using var coordinator = await CoordinatorHost.StartAsync(Coordinator(output, attempt.Token, attempt.Workers), attempt.Signals.Token);
        if (options.Overwrite) RemoveEarlierRun(output);
        attempt.Began = true;
        using var tokenFile = TokenFile.Write(Path.Combine(output.Path, StateFolder), coordinator.Token);
        display.Show(new CoordinatorListening(Reachable(coordinator.Address), tokenFile.Path));
        Start(attempt, coordinator.Address, coordinator.Token);
        var run = await coordinator.SubmitAsync(submission);
        // Without workers of other machines, those of this one are all it can have.
        var need = attempt.Local == attempt.Workers.Most ? attempt.Workers : (WorkerRange?)null;
        return await FollowAsync(new FollowedRun(run.Events, run.StopAsync), attempt, need, submission.FirstStep);
    }

    /// <summary>Coordinators that outlive this program: the run may be going on there already.</summary>
    private async Task<int> RunElsewhereAsync(Attempt attempt)
    {
        using var remote = new RemoteRuns(options.Coordinators, attempt.Token, attempt.Output.Path);
        return await remote.FindGoingOnAsync(attempt.Signals.Token) is { } goingOn
            ? await FollowAgainAsync(attempt, remote, goingOn)
            : await PrepareAsync(attempt, submission => SubmitAsync(attempt, remote, submission));
    }

    private async Task<int> FollowAgainAsync(Attempt attempt, RemoteRuns remote, string run)
    {
        attempt.Began = true;
        display.Show(new RunWarning($"run {run} is going on already: following it"));
        var known = LossHistory.Read(attempt.Output.Path).Steps.LastOrDefault()?.Step ?? 0;
        Start(attempt, string.Join(',', options.Coordinators), attempt.Token);
        return await FollowAsync(remote.Follow(run, known), attempt, null, known);
    }

    private async Task<int> SubmitAsync(Attempt attempt, RemoteRuns remote, RunSubmission submission)
    {
        if (options.Overwrite) RemoveEarlierRun(attempt.Output);
        attempt.Began = true;
        var submitted = await remote.SubmitAsync(submission, attempt.Signals.Token);
        Start(attempt, string.Join(',', options.Coordinators), attempt.Token);
        return await FollowAsync(submitted, attempt, null, submission.FirstStep);
    }

    /// <summary>Refuses what can be refused, makes the corpus, and runs the job unless it is done already.</summary>
    private async Task<int> PrepareAsync(Attempt attempt, Func<RunSubmission, Task<int>> run)
    {
        var resume = Resume();
        using var corpus = await PrepareCorpusAsync(attempt.Signals.Token);
        var vocabSize = corpus.Manifest.Tokenizer.VocabSize;
        var size = NetworkSize.Of(_job, vocabSize);
        var checkpoint = Open(resume, corpus);
        if (checkpoint?.Manifest.Step == _job.MaxSteps) return ShowFinished(checkpoint);
        CheckMemory(Plan(attempt.Workers, size, vocabSize, corpus.Manifest.Train.Tokens), attempt.Local);
        return await run(Submission(corpus, size, resume, checkpoint, attempt.Workers) with { Device = attempt.Local > 0 ? LocalDevice.Of(_job) : null });
    }

    private void Warn(IEnumerable<string> warnings)
    {
        foreach (var warning in warnings) display.Show(new RunWarning(warning));
    }

    private RunPlan Plan(WorkerRange workers, NetworkSize size, int vocabSize, long? tokens) =>
        RunPlan.Of(_job, workers, vocabSize, size.Parameters, size.FlopsPerToken, tokens, size.Frozen);

    private void CheckMemory(RunPlan plan, int workers)
    {
        if (MemoryCheck.Of(plan, workers, GC.GetGCMemoryInfo().TotalAvailableMemoryBytes) is { } warning) display.Show(new RunWarning(warning));
    }

    private static int VocabSize(TokenizerSettings tokenizer) =>
        tokenizer.Type == TokenizerKind.Bpe ? tokenizer.VocabSize : TokenizerFiles.Create(tokenizer, () => []).VocabSize;

    private (int Workers, string Token) Local(int workers)
    {
        var isRemote = options.Coordinators.Count > 0;
        var token = isRemote ? WorkerToken.Read(options.TokenFile) : Environment.GetEnvironmentVariable(WorkerProcesses.TokenVariable) ?? "";
        if (options.LocalWorkers is not { } local) return (isRemote ? 0 : workers, token);
        return local >= 0 && local <= workers
            ? (local, token)
            : throw new SoraException($"--local-workers is {local}: use 0 to {workers}, which is how many workers the run has.", ExitCode.Usage);
    }

    /// <param name="fetch">Whether a checkpoint may be brought here from a bucket.</param>
    private ResumePoint Resume(bool fetch = true)
    {
        if (options.Overwrite)
        {
            return options.Resume == "false"
                ? new ResumePoint(null, [])
                : throw new SoraException("--overwrite begins anew and --resume goes on: use one of them.", ExitCode.Usage);
        }
        if (options.Resume == "false" && CheckpointCatalog.List(_job.OutputDir) is [.., var last])
        {
            throw new SoraException(
                $"{_job.OutputDir} holds checkpoints of an earlier run, up to step {last.Step}. Go on from there with --resume auto, begin anew with --overwrite, or choose another folder with --output.",
                ExitCode.Usage);
        }
        var isRemote = _job.SaveTo.Length > 0 || S3Location.Is(options.Resume);
        if (isRemote && !fetch)
        {
            CheckpointStore.CheckResume(options.Resume, _job.OutputDir, _job.SaveTo);
            return new ResumePoint(null, []);
        }
        var point = CheckpointStore.Resolve(options.Resume, _job.OutputDir, _job.SaveTo);
        Warn(point.Warnings);
        return point;
    }

    private void Start(Attempt attempt, string coordinators, string token)
    {
        var launch = new WorkerLaunch(coordinators, token, attempt.Output.Logs, _job.ThreadsPerWorker, WorkerCount.OneGpuEach(_job));
        // Others may have a worker-0 there too.
        if (options.Coordinators.Count > 0) launch = launch with { NamePrefix = $"{Environment.MachineName}-{Environment.ProcessId}-" };
        attempt.Processes = WorkerProcesses.Start(attempt.Local, launch, _job.MaxRestarts, clock);
    }

    private async Task<int> FollowAsync(FollowedRun run, Attempt attempt, WorkerRange? need, long knownStep)
    {
        var workers = attempt.Processes!;
        using var history = LossHistory.Open(attempt.Output.Path, knownStep);
        var end = await new RunFollower(display, history, attempt.Signals, workers, need, clock).FollowAsync(run);
        await workers.EndAsync(WorkerGrace);
        return Conclude(end, attempt.Output, workers, attempt.Signals);
    }

    private CoordinatorOptions Coordinator(OutputFolder output, string token, WorkerRange workers)
    {
        var coordinator = new CoordinatorOptions
        {
            ListenUrl = options.Listen,
            Token = token,
            StateDir = Path.Combine(output.Path, StateFolder),
            LoggerFactory = NullLoggerFactory.Instance,
            RecoverRuns = false, // a run ends with this program and is resumed from its checkpoint
        };
        // Where fewer do, nobody waits long for all.
        return workers.Start < workers.Most ? coordinator with { ArrivalLimit = RangePatience } : coordinator;
    }

    private async Task<PreparedCorpus> PrepareCorpusAsync(CancellationToken cancellationToken)
    {
        var corpus = await CorpusCache.GetAsync(_job.Data, _job.Tokenizer, new DataReporter(display), clock, cancellationToken);
        CorpusSummary.Show(corpus, display, "data.validation_split: 0");
        return corpus;
    }

    private CheckpointReader? Open(ResumePoint resume, PreparedCorpus corpus)
    {
        // The plan refuses a corpus that is too small for the job, so ask it before any process is started.
        _ = DataPlan.For(corpus.Manifest, _job);
        if (resume.Path is null) return null;
        var checkpoint = CheckpointStore.Open(resume.Path, _job.OutputDir);
        var differences = checkpoint.CheckMatches(_job, corpus.Manifest.Tokenizer.VocabSize, corpus.Hash);
        // A finished run does not go on with them.
        if (checkpoint.Manifest.Step < _job.MaxSteps) Warn(differences);
        if (checkpoint.Manifest.Step > _job.MaxSteps)
            throw new SoraException($"Checkpoint {checkpoint.Path} is of step {checkpoint.Manifest.Step}, which is past max_steps, {_job.MaxSteps}. Raise max_steps to train on.", ExitCode.Usage);
        return checkpoint;
    }

    // Whoever starts a job again and again until it succeeds must get the success, not an error.
    private int ShowFinished(CheckpointReader checkpoint)
    {
        // The checkpoint may be that of a run elsewhere.
        var run = Path.GetDirectoryName(Path.GetDirectoryName(checkpoint.Path)) ?? _job.OutputDir;
        var (steps, evaluations) = LossHistory.Read(run);
        var step = checkpoint.Manifest.Step;
        display.Show(new RunWarning($"{checkpoint.Path} is of the last step: there is nothing left to do; raise max_steps to train on"));
        display.Show(new RunFinished(
            step, steps.LastOrDefault(one => one.Step == step)?.Loss ?? double.NaN, evaluations.LastOrDefault(one => one.Step == step)?.EvalLoss,
            checkpoint.WeightsHash, _job.OutputDir));
        return ExitCode.Ok;
    }

    private void RemoveEarlierRun(OutputFolder output)
    {
        CheckpointStore.RemoveAll(_job.SaveTo);
        var checkpoints = CheckpointCatalog.FolderOf(output.Path);
        if (!Directory.Exists(checkpoints)) return;
        display.Show(new RunWarning($"removing the checkpoints of an earlier run in {checkpoints}"));
        try
        {
            Directory.Delete(checkpoints, recursive: true);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new SoraException($"The checkpoints in {checkpoints} cannot be removed: {e.Message} Remove them yourself, or choose another folder with --output.", ExitCode.Usage, e);
        }
    }

    private RunSubmission Submission(PreparedCorpus corpus, NetworkSize size, ResumePoint resume, CheckpointReader? checkpoint, WorkerRange workers) => new()
    {
        Run = Guid.NewGuid().ToString("N"),
        Job = _job,
        JobJson = JobJson.Write(_job),
        CorpusHash = corpus.Hash,
        CorpusDir = corpus.Folder,
        Pieces = new CorpusPieces(corpus),
        OutputDir = _job.OutputDir,
        ResumeFrom = resume.Path,
        FirstStep = checkpoint?.Manifest.Step ?? 0,
        Workers = workers.Most,
        StartWorkers = workers.Start,
        MinWorkers = workers.Least,
        // The canary is a function of the job: one made by another job says nothing about this machine.
        ExpectedCanary = IsSameJob(checkpoint) ? checkpoint?.Manifest.Canary : null,
        ExpectedFingerprint = IsSameJob(checkpoint) ? checkpoint?.Manifest.Numerics : null,
        Parameters = size.Parameters,
    };

    // "All addresses" can be dialled on this machine only by another name.
    private string Reachable(string address) =>
        Uri.TryCreate(options.Listen, UriKind.Absolute, out var listening) && listening.Host is "0.0.0.0" or "[::]"
            ? new UriBuilder(address) { Host = Environment.MachineName }.Uri.GetLeftPart(UriPartial.Authority)
            : address;

    private bool IsSameJob(CheckpointReader? checkpoint) => checkpoint is not null && JobHash.Of(checkpoint.Job) == JobHash.Of(_job);

    private int Conclude(RunEvent end, OutputFolder output, WorkerProcesses workers, StopSignals signals)
    {
        OrWarn("no loss curve", () => DrawCurve(output));
        switch (end)
        {
            case RunFinished:
                // The run is whole: what is only for show must not turn it into a failure.
                OrWarn("no samples", () => Samples.Show(_job, display));
                display.Show(end);
                return ExitCode.Ok;
            case RunStopped { Checkpoint: { } checkpoint } stopped:
                display.Show(stopped with { Reason = $"{stopped.Reason}; checkpoint {checkpoint}. To go on: {options.ResumeCommand}" });
                return ExitCode.Resumable;
            case RunStopped stopped:
                display.Show(stopped);
                return signals.ExitCode;
            default:
                var failure = (RunFailed)end;
                display.Show(failure);
                throw new ReportedFailure(FailureReport.Of(failure, workers.All, options.ResumeCommand), failure.ExitCode == ExitCode.Ok ? ExitCode.Failure : failure.ExitCode);
        }
    }

    private void OrWarn(string consequence, Action show)
    {
        try
        {
            show();
        }
        catch (Exception e) when (e is SoraException or IOException or UnauthorizedAccessException)
        {
            display.Show(new RunWarning($"{consequence}: {e.Message}"));
        }
    }

    private void DrawCurve(OutputFolder output)
    {
        var (steps, evaluations) = LossHistory.Read(output.Path);
        if (steps.Count == 0) return;
        var path = Path.Combine(output.Path, "loss.svg");
        LossCurve.Draw(_job.Name, steps, evaluations, path);
        display.Show(new LossCurveDrawn(path));
    }
}
