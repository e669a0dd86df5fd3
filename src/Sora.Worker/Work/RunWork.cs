using Sora.Model.Checkpoints;
using Sora.Model.Data;
using Sora.Model.Native;
using Sora.Model.Tokenization;
using Sora.Model.Training;
using Sora.Protocol.Exchange;
using Sora.Protocol.Generations;
using Sora.Protocol.Jobs;

namespace Sora.Worker.Work;

/// <summary>The numbers behind a session: corpus, trainer, checkpoints.</summary>
internal sealed class RunWork(WorkerOptions options, AssignedCorpus corpus) : IRunWork
{
    private const double LongestPeerTimeout = 24 * 3600; // seconds; timers take no more than some weeks
    private readonly StopRequest _stop = new();
    private WorkerAssignment? _assignment;
    private TrainingJob? _job;
    private IBatchSource? _batches;
    private ITokenizer? _tokenizer;
    private Trainer? _trainer;
    private TorchInfo? _torch;
    private string _canary = "";

    private TimeProvider Time => options.Time;

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

    public long Restore(IWorkReports reports)
    {
        if (_assignment!.ResumeFrom.Length > 0)
        {
            var checkpoint = CheckpointFolder.Open(_assignment.ResumeFrom);
            checkpoint.CheckMatches(_job!, _tokenizer!.VocabSize, _assignment.CorpusHash); // what is not fatal was told by who submitted the run
            using var weights = checkpoint.ReadWeights();
            using var optimizer = checkpoint.ReadOptimizer();
            Trainer.Restore(checkpoint.Manifest.Step, weights.Tensors, optimizer.Tensors);
        }
        return Trainer.Step;
    }

    public WorkEnd Train(IGradientExchange exchange, bool writesCheckpoints, IWorkReports reports)
    {
        var host = new Host(this, writesCheckpoints, reports);
        var end = TrainingLoop.Run(Trainer, _batches!, exchange, host);
        var saved = host.Saved?.Step == end.Step ? host.Saved : null;
        return new WorkEnd(end.Step, end.Stopped, saved?.WeightsSha256 ?? HashWeights(), saved?.Path ?? "");
    }

    public void RequestStop(bool checkpoint) => _stop.Ask(checkpoint);

    public void Dispose()
    {
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

    private CheckpointInfo SaveCheckpoint()
    {
        var (weights, optimizer) = (Trainer.Weights, Trainer.OptimizerState);
        try
        {
            return CheckpointFolder.Save(
                new CheckpointContents
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
                },
                _job.SaveTotalLimit);
        }
        finally
        {
            Release(weights);
            Release(optimizer);
        }
    }

    private static void Release(IReadOnlyList<NamedTensor> views)
    {
        foreach (var view in views)
            view.Value.Dispose();
    }

    /// <summary>A stop asked on one thread and seen on another.</summary>
    private sealed class StopRequest
    {
        private volatile bool _asked;

        public bool Asked => _asked;

        public bool WithoutCheckpoint { get; private set; }

        public void Ask(bool checkpoint)
        {
            WithoutCheckpoint = !checkpoint;
            _asked = true;
        }
    }

    private sealed class Host(RunWork work, bool writesCheckpoints, IWorkReports reports) : ITrainingHost
    {
        public CheckpointInfo? Saved { get; private set; }

        public bool StopRequested => work._stop.Asked;

        public void OnStep(StepResult result)
        {
            if (result.Step % work._job!.LoggingSteps == 0 || result.Step == work._job.MaxSteps || result.StopRequested)
                reports.Step(result);
        }

        public void OnEvaluation(EvaluationResult result) => reports.Evaluation(result);

        public void SaveCheckpoint(Trainer trainer)
        {
            if (!writesCheckpoints || (work._stop is { Asked: true, WithoutCheckpoint: true } && trainer.Step < work._job!.MaxSteps))
                return;
            var started = work.Time.GetTimestamp();
            Saved = work.SaveCheckpoint();
            reports.Checkpoint(Saved.Step, Saved.Path, Saved.WeightsSha256, work.Time.GetElapsedTime(started));
        }
    }
}
