using System.Globalization;
using Microsoft.Extensions.Logging;
using Sora.Model.Checkpoints;
using Sora.Model.Checkpoints.Storage;
using Sora.Model.Data;
using Sora.Model.Native;
using Sora.Model.Tokenization;
using Sora.Model.Training;
using Sora.Protocol.Exchange;
using Sora.Protocol.Generations;
using Sora.Protocol.Jobs;

namespace Sora.Worker.Work;

/// <summary>The numbers behind a session: corpus, trainer, checkpoints.</summary>
internal sealed partial class RunWork(WorkerOptions options, AssignedCorpus corpus) : IRunWork
{
    private const string Consolation = " The run goes on and tries again when the next one is due.";
    private const double LongestPeerTimeout = 24 * 3600; // seconds; timers take no more than some weeks
    private WorkerAssignment? _assignment;
    private TrainingJob? _job;
    private IBatchSource? _batches;
    private ITokenizer? _tokenizer;
    private Trainer? _trainer;
    private TorchInfo? _torch;
    private readonly ILogger _log = options.LoggerFactory.CreateLogger<RunWork>();
    private readonly CheckpointWriter _writer = new(options.Time);
    private string _canary = "";
    private bool _holdsState;
    private bool _toldOfWaiting;

    public long HeldStep => _holdsState ? Trainer.Step : -1;

    private TimeProvider Time => options.Time;

    private bool SavesBeside => _job is { SaveAsync: true, SaveSteps: > 0 };

    private int Threads => options.ThreadsOverride ?? _job!.ThreadsPerWorker;

    private Trainer Trainer => _trainer ?? throw new InvalidOperationException("No assignment has been prepared.");

    private TorchInfo Torch => _torch ??= TorchInfo.Read();

    private ModelDescription Description => ModelDescription.Of(_job!, _tokenizer!.VocabSize, _tokenizer.EndOfText);

    public Machine Inspect()
    {
        var device = Devices.Resolve("auto").ToString();
        var threads = options.ThreadsOverride ?? 0;
        return new Machine(Torch.Gpus is [var first, ..] ? first : "cpu", threads, Torch.Version, NumericsFingerprint.Of(Torch, device, threads));
    }

    public Proof Prove(WorkerAssignment assignment, CancellationToken cancellationToken)
    {
        _assignment = assignment;
        _job = JobJson.Parse(assignment.JobJson);
        (_batches, _tokenizer) = corpus.Open(assignment, _job, cancellationToken);
        _trainer = new Trainer(_job with { ThreadsPerWorker = Threads }, _tokenizer.VocabSize, Devices.Resolve(_job.Device), Time);
        _canary = _trainer.Canary();
        return new Proof(_canary, _trainer.GradientLength, TimeSpan.FromSeconds(Math.Min(_job.DdpTimeout, LongestPeerTimeout)));
    }

    public IReadOnlyList<StateRegion> StateRegions() => Trainer.StateRegions();

    public void Restore(string checkpoint, long step)
    {
        if (checkpoint.Length > 0)
            Read(checkpoint);
        else if (_holdsState)
            Trainer.Reset();
        _holdsState = true;
        if (Trainer.Step != step)
        {
            throw new SoraException(
                $"The run goes on from step {step}, but {(checkpoint.Length > 0 ? $"checkpoint {checkpoint}" : "the initial state")} is of step {Trainer.Step}. " +
                "Was the output folder changed by hand? Start the run again with --resume auto.", ExitCode.InvalidInput);
        }
    }

    public void TakeOver(long step, Action<IReadOnlyList<StateRegion>> fetch)
    {
        using var gathered = Trainer.NewStateBuffers();
        fetch(gathered.Regions);
        Trainer.AdoptState(step, gathered);
        _holdsState = true;
    }

    public WorkEnd Train(WorkerGeneration generation, IGradientExchange exchange, bool writesCheckpoints, Func<bool> haltRequested, IWorkReports reports)
    {
        if (writesCheckpoints && SavesBeside)
            _writer.Prepare(Trainer);
        var host = new Host(this, writesCheckpoints, haltRequested, reports);
        var end = TrainingLoop.Run(Trainer, _batches!, exchange, host, generation.EvaluatedStep, generation.SavedStep);
        return new WorkEnd(end.Step, end.Halted, end.Halted ? "" : host.Saved?.Step == end.Step ? host.Saved.WeightsSha256 : HashWeights());
    }

    public void Save(long step, IWorkReports reports)
    {
        if (HeldStep != step)
            reports.NoCheckpoint(step, $"this worker holds the state of step {HeldStep}");
        else
            TrySaveCheckpoint(reports, "");
    }

    public void Dispose()
    {
        _writer.Dispose();
        _trainer?.Dispose();
        _batches?.Dispose();
    }

    private string HashWeights()
    {
        var weights = Trainer.Weights;
        try
        {
            using var exported = HubWeights.Export(Description, weights);
            return WeightsHash.Of(exported.Tensors.Select(TensorFiles.ToRaw));
        }
        finally
        {
            Release(weights);
        }
    }

    private void Read(string path)
    {
        var checkpoint = CheckpointStore.Open(path, _assignment!.OutputDir);
        checkpoint.CheckMatches(_job!, _tokenizer!.VocabSize, _assignment!.CorpusHash); // what is not fatal was told by who submitted the run
        using var weights = checkpoint.ReadWeights();
        using var optimizer = checkpoint.ReadOptimizer();
        Trainer.Restore(checkpoint.Manifest.Step, weights.Tensors, optimizer.Tensors);
    }

    /// <summary>Saves beside the training: it goes on with a copy made now.</summary>
    private void BeginCheckpoint(IWorkReports reports)
    {
        // It may have been begun in the generation before, and its report be on its way.
        if (_writer.Has(Trainer.Step) || !AwaitWriter(reports))
            return;
        LogSaving(Trainer.Step);
        _writer.Begin(Trainer, snapshot => Contents(snapshot.Weights, snapshot.Optimizer), outcome =>
        {
            if (outcome.Saved is { } saved)
                reports.Checkpoint(saved.Step, saved.Path, saved.WeightsSha256, outcome.Elapsed);
            else
                reports.NoCheckpoint(outcome.Step, outcome.Error!.Message + Consolation);
        });
    }

    /// <summary>There is one copy: the one before must have been written. Peers do not wait for ever, so neither does this.</summary>
    private bool AwaitWriter(IWorkReports reports)
    {
        if (!_writer.IsWriting)
            return true;
        var (before, started) = (_writer.Step, Time.GetTimestamp());
        if (!_writer.Wait(TimeSpan.FromSeconds(Math.Min(_job!.DdpTimeout, LongestPeerTimeout) / 2)))
        {
            reports.NoCheckpoint(Trainer.Step, string.Create(CultureInfo.InvariantCulture,
                $"that of step {before} is still being written after {Time.GetElapsedTime(started).TotalSeconds:F0} s of waiting.{Consolation}"));
            return false;
        }
        if (!_toldOfWaiting)
        {
            reports.Warning(string.Create(CultureInfo.InvariantCulture,
                $"The checkpoint of step {before} was still being written when that of step {Trainer.Step} was due, and training waited {Time.GetElapsedTime(started).TotalSeconds:F1} s for it. Raise save_steps ({_job.SaveSteps}) or write to a faster disk. This is said once."));
            _toldOfWaiting = true;
        }
        return true;
    }

    /// <summary>Saves, unless the disk does not let it.</summary>
    private void TrySaveCheckpoint(IWorkReports reports, string consolation)
    {
        try
        {
            SaveCheckpoint(reports);
        }
        catch (CheckpointWriteException e)
        {
            reports.NoCheckpoint(Trainer.Step, e.Message + consolation);
        }
    }

    private CheckpointInfo SaveCheckpoint(IWorkReports reports)
    {
        _writer.Wait(Timeout.InfiniteTimeSpan);
        var started = Time.GetTimestamp();
        LogSaving(Trainer.Step);
        var (weights, optimizer) = (Trainer.Weights, Trainer.OptimizerState);
        try
        {
            var saved = CheckpointStore.Save(Contents(weights, optimizer));
            reports.Checkpoint(saved.Step, saved.Path, saved.WeightsSha256, Time.GetElapsedTime(started));
            return saved;
        }
        finally
        {
            Release(weights);
            Release(optimizer);
        }
    }

    private CheckpointContents Contents(IReadOnlyList<NamedTensor> weights, IReadOnlyList<NamedTensor> optimizer) => new()
    {
        OutputDir = _assignment!.OutputDir,
        Step = Trainer.Step,
        TokensSeen = Trainer.Step * _job!.Lanes * _job.MicroBatchesPerLane * _job.MicroBatchSize * _job.ContextLength,
        Job = _job,
        CorpusSha256 = _assignment.CorpusHash,
        Tokenizer = _tokenizer!,
        Canary = _canary,
        Numerics = NumericsFingerprint.Of(Torch, Devices.Resolve(_job.Device).ToString(), Threads),
        Weights = weights,
        Optimizer = optimizer,
    };

    private static void Release(IReadOnlyList<NamedTensor> views)
    {
        foreach (var view in views)
            view.Value.Dispose();
    }

    [LoggerMessage(2210, LogLevel.Debug, "The checkpoint of step {Step} is being written")]
    private partial void LogSaving(long step);

    private sealed class Host(RunWork work, bool writesCheckpoints, Func<bool> haltRequested, IWorkReports reports) : ITrainingHost
    {
        public CheckpointInfo? Saved { get; private set; }

        public bool StopRequested => haltRequested();

        public void OnStep(StepResult result)
        {
            reports.Committed(result.Step, result.ComputeSeconds, result.ExchangeSeconds);
            if (work._job!.VerifySteps > 0 && result.Step % work._job.VerifySteps == 0)
                reports.StateHash(result.Step, StateHash.Of(work.StateRegions()));
            if (result.Step % work._job.LoggingSteps == 0 || result.Step == work._job.MaxSteps)
                reports.Step(result);
        }

        public void OnEvaluation(EvaluationResult result) => reports.Evaluation(result);

        public void SaveCheckpoint(Trainer trainer)
        {
            if (!writesCheckpoints)
                return;
            // Without the last one the run has no result; without another one it can still come to its end.
            if (trainer.Step == work._job!.MaxSteps)
                Saved = work.SaveCheckpoint(reports);
            else if (work.SavesBeside)
                work.BeginCheckpoint(reports);
            else
                work.TrySaveCheckpoint(reports, Consolation);
        }
    }
}
