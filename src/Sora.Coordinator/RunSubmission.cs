using Sora.Coordinator.Federations;
using Sora.Protocol.Blocks;
using Sora.Protocol.Generations;
using Sora.Protocol.Jobs;

namespace Sora.Coordinator;

/// <summary>A run to be carried out.</summary>
public sealed record RunSubmission
{
    /// <summary>Id of the run, unique for the life of the journal. Submitted again after a stop, a failure or a restart, it goes on.</summary>
    public required string Run { get; init; }

    /// <summary>The resolved job.</summary>
    public required TrainingJob Job { get; init; }

    /// <summary>The same as canonical JSON; workers get it byte for byte.</summary>
    public required string JobJson { get; init; }

    /// <summary>SHA-256 of the corpus manifest.</summary>
    public required string CorpusHash { get; init; }

    /// <summary>Folder of the corpus; workers on this machine read it.</summary>
    public required string CorpusDir { get; init; }

    /// <summary>Where workers that cannot read that folder get the corpus from; null: from whoever can open it there.</summary>
    public IPieceSource? Pieces { get; init; }

    /// <summary>Where checkpoints go.</summary>
    public required string OutputDir { get; init; }

    /// <summary>Checkpoint folder to continue from; null: initial weights.</summary>
    public string? ResumeFrom { get; init; }

    /// <summary>First step to compute.</summary>
    public long FirstStep { get; init; }

    /// <summary>The most workers that take part at a time, at most as many as the job has lanes.</summary>
    public required int Workers { get; init; }

    /// <summary>The run begins with no fewer, once the others have had their time to come; null: with all.</summary>
    public int? StartWorkers { get; init; }

    /// <summary>With fewer than these the run, once it goes on, waits for more to come.</summary>
    public int MinWorkers { get; init; } = 1;

    /// <summary>The canary recorded in <see cref="ResumeFrom"/>; null: the workers of this run vote.</summary>
    public string? ExpectedCanary { get; init; }

    /// <summary>The numerics fingerprint recorded beside it, shown when a worker is refused.</summary>
    public string? ExpectedFingerprint { get; init; }

    /// <summary>Parameters of the model, shown to people.</summary>
    public long Parameters { get; init; }

    /// <summary>What <c>device: auto</c> came to, shown to people; null: as the job says.</summary>
    public string? Device { get; init; }

    /// <exception cref="SoraException">It cannot be carried out as it is.</exception>
    internal void Check()
    {
        if (FederationRegion.Owns(Run))
            throw new SoraException($"'{Run}' begins with {FederationRegion.RunPrefix}, which only the ids of federated runs do. Choose another id.", ExitCode.Usage);
        if (Workers < 1 || Workers > Job.Lanes)
            throw new SoraException($"{Workers} workers cannot share {Job.Lanes} lanes: a worker owns at least one. Set 'lanes' to at least {Workers} or ask for fewer workers.", ExitCode.Usage);
        if (StartWorkers > Workers || MinWorkers > Workers)
            throw new SoraException($"The run takes at most {Workers} workers and can neither wait for {Math.Max(StartWorkers ?? 0, MinWorkers)} nor need them. Ask for more or wait for fewer.", ExitCode.Usage);
    }

    internal RunSpec ToSpec() => new()
    {
        Run = Run,
        Name = Job.Name,
        JobJson = JobJson,
        CorpusHash = CorpusHash,
        CorpusDir = CorpusDir,
        OutputDir = OutputDir,
        ResumeFrom = ResumeFrom ?? "",
        FirstStep = FirstStep,
        MaxSteps = Job.MaxSteps,
        Workers = Workers,
        StartWorkers = StartWorkers ?? Workers,
        MinWorkers = MinWorkers,
        Straggler = Job.Straggler,
        StragglerFactor = Job.StragglerFactor,
        StragglerSeconds = Job.StragglerSeconds,
        Lanes = Job.Lanes,
        Numerics = Job.Numerics,
        ExpectedCanary = ExpectedCanary ?? "",
        ExpectedFingerprint = ExpectedFingerprint ?? "",
        Parameters = Parameters,
        TokensPerStep = (long)Job.Lanes * Job.MicroBatchesPerLane * Job.MicroBatchSize * Job.ContextLength,
        Device = Device ?? Job.Device,
        Dtype = Job.Dtype.ToString().ToLowerInvariant(),
    };
}
