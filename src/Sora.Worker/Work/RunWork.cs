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
    private MemberMarks? _marks;
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
        _trainer = new Trainer(_job with { ThreadsPerWorker = Threads }, _tokenizer.VocabSize, Devices.Resolve(_job.Device), Time, BaseModel.Reader(_job));
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

    public WorkEnd Train(WorkerGeneration generation, IGradientExchange exchange, int rank, Func<bool> haltRequested, IWorkReports reports)
    {
        var host = new Host(this, rank == 0, Writers(generation, rank), haltRequested, reports);
        var end = TrainingLoop.Run(Trainer, _batches!, exchange, host, generation.EvaluatedStep, generation.SavedStep);
        return new WorkEnd(end.Step, end.Halted, end.Halted ? "" : host.Saved?.Step == end.Step ? host.Saved.WeightsSha256 : HashWeights());
    }

    public void Save(long step, IWorkReports reports)
    {
        if (HeldStep != step)
            reports.NoCheckpoint(step, $"this worker holds the state of step {HeldStep}");
        else
            TrySaveCheckpoint(SaveGroup.Alone, reports, "");
    }

    public void Dispose()
    {
        _writer.Dispose();
        _marks?.Remove();
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

    /// <summary>Who writes the checkpoints of a generation that come before the last; to be asked when all members have been heard.</summary>
    private Func<SaveGroup?> Writers(WorkerGeneration generation, int rank)
    {
        var members = generation.Members.Count;
        if (members <= 1 || _job!.SaveSteps == 0)
            return () => rank == 0 ? SaveGroup.Alone : null;
        if (_job.SaveTo.Length > 0)
        {
            var group = SaveGroup.InBucket(generation.Run, generation.Number, generation.Secret, rank, members);
            return () => group;
        }
        _marks?.Remove();
        var marks = _marks = MemberMarks.Place(_assignment!.OutputDir, generation.Run, generation.Number, generation.Secret, rank, members);
        return marks.Group;
    }

    /// <summary>Saves beside the training: it goes on with a copy made now.</summary>
    private void BeginCheckpoint(SaveGroup group, IWorkReports reports)
    {
        // It may have been begun in the generation before, and its report be on its way.
        if ((group.Count == 1 && _writer.Has(Trainer.Step)) || !AwaitWriter(reports))
            return;
        LogSaving(Trainer.Step, group.Index + 1, group.Count);
        _writer.Begin(Trainer, group, Contents, outcome =>
        {
            Tell(outcome.Abandoned, reports);
            if (outcome.Saved is { } saved)
                reports.Checkpoint(saved.Step, saved.Path, saved.WeightsSha256, outcome.Elapsed);
            else if (outcome.Error is { } error)
                reports.NoCheckpoint(outcome.Step, error.Message + Consolation);
        });
    }

    private static void Tell(IEnumerable<AbandonedCheckpoint> abandoned, IWorkReports reports)
    {
        foreach (var one in abandoned)
            reports.NoCheckpoint(one.Step, $"{one.Reason} The next one takes its place.");
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
    private void TrySaveCheckpoint(SaveGroup group, IWorkReports reports, string consolation)
    {
        try
        {
            SaveCheckpoint(group, reports);
        }
        catch (CheckpointWriteException e)
        {
            reports.NoCheckpoint(Trainer.Step, e.Message + consolation);
        }
    }

    private CheckpointInfo? SaveCheckpoint(SaveGroup group, IWorkReports reports)
    {
        _writer.Wait(Timeout.InfiniteTimeSpan);
        var started = Time.GetTimestamp();
        LogSaving(Trainer.Step, group.Index + 1, group.Count);
        var (weights, optimizer) = (Trainer.Weights, Trainer.OptimizerState);
        try
        {
            var (saved, abandoned) = CheckpointStore.Save(Contents(weights, optimizer) with { Group = group });
            Tell(abandoned, reports);
            if (saved is not null)
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

    [LoggerMessage(2210, LogLevel.Debug, "The checkpoint of step {Step} is being written, by writer {Writer} of {Writers}")]
    private partial void LogSaving(long step, int writer, int writers);

    private sealed class Host(RunWork work, bool isFirst, Func<SaveGroup?> writers, Func<bool> haltRequested, IWorkReports reports) : ITrainingHost
    {
        private bool _knowsWriters;
        private SaveGroup? _group;
        private long _toldHashOf = -1;

        public CheckpointInfo? Saved { get; private set; }

        public bool StopRequested => haltRequested();

        public void OnStep(StepResult result)
        {
            reports.Committed(result.Step, result.ComputeSeconds, result.ExchangeSeconds);
            if (work._job!.VerifySteps > 0 && result.Step % work._job.VerifySteps == 0)
                TellHash(result.Step, StateHash.Of(work.StateRegions()));
            if (result.Step % work._job.LoggingSteps == 0 || result.Step == work._job.MaxSteps)
                reports.Step(result);
            // Memory is not sought in the moment training stands still for a copy, but now; not while it is still being read, though.
            if (!_knowsWriters && work.SavesBeside && !work._writer.IsWriting && Group() is { } group)
                work._writer.Prepare(work.Trainer, group, work.Contents);
        }

        public void OnEvaluation(EvaluationResult result) => reports.Evaluation(result);

        public void OnStatesDiffer(long step, string hash)
        {
            TellHash(step, hash);
            if (isFirst)
                reports.NoCheckpoint(step, "the workers hold different states after this step.");
        }

        public void SaveCheckpoint(Trainer trainer)
        {
            // Without the last one the run has no result; without another one it can still come to its end.
            if (trainer.Step == work._job!.MaxSteps)
                Saved = isFirst ? work.SaveCheckpoint(SaveGroup.Alone, reports) : null;
            else if (Group() is not { } group)
                return;
            else if (work.SavesBeside)
                work.BeginCheckpoint(group, reports);
            else
                work.TrySaveCheckpoint(group, reports, Consolation);
        }

        // Once a step: two differences at one step would count as two faults.
        private void TellHash(long step, string hash)
        {
            if (step == _toldHashOf)
                return;
            _toldHashOf = step;
            reports.StateHash(step, hash);
        }

        // Asked once: a member that goes leaves its mark, or takes it away, and the others are to go on alike.
        private SaveGroup? Group()
        {
            if (!_knowsWriters)
                (_group, _knowsWriters) = (writers(), true);
            return _group;
        }
    }
}
