using Sora.Protocol.Jobs;

namespace Sora.Protocol.Generations;

/// <summary>What the coordinator must know of a run: the part of a submission that is journaled and sent to workers.</summary>
public sealed record RunSpec
{
    /// <summary>Id of the run.</summary>
    public required string Run { get; init; }

    /// <summary>Name of the job.</summary>
    public string Name { get; init; } = "";

    /// <summary>The canonical resolved job, sent to workers as it is.</summary>
    public string JobJson { get; init; } = "";

    /// <summary>SHA-256 of the corpus manifest.</summary>
    public string CorpusHash { get; init; } = "";

    /// <summary>A folder the workers may try for the corpus.</summary>
    public string CorpusDir { get; init; } = "";

    /// <summary>Where checkpoints go.</summary>
    public string OutputDir { get; init; } = "";

    /// <summary>Checkpoint folder the run continues from; empty: initial weights.</summary>
    public string ResumeFrom { get; init; } = "";

    /// <summary>First step to compute.</summary>
    public long FirstStep { get; init; }

    /// <summary>Steps the whole run has.</summary>
    public long MaxSteps { get; init; }

    /// <summary>The most workers that take part at a time.</summary>
    public required int Workers { get; init; }

    /// <summary>The run begins with no fewer.</summary>
    public int StartWorkers { get; init; } = 1;

    /// <summary>With fewer than these the run waits for more to come.</summary>
    public int MinWorkers { get; init; } = 1;

    /// <summary>Lanes of the job.</summary>
    public required int Lanes { get; init; }

    /// <summary>What happens to a worker whose canary differs.</summary>
    public NumericsPolicy Numerics { get; init; }

    /// <summary>What happens to a worker that is much slower than the others.</summary>
    public StragglerPolicy Straggler { get; init; } = StragglerPolicy.Warn;

    /// <summary>How many times as long as the median one may need for a lane.</summary>
    public double StragglerFactor { get; init; } = 1.5;

    /// <summary>For how long it must be slow, in seconds.</summary>
    public double StragglerSeconds { get; init; } = 30;

    /// <summary>The canary recorded in the checkpoint the run continues from; empty: none.</summary>
    public string ExpectedCanary { get; init; } = "";

    /// <summary>The numerics fingerprint recorded beside <see cref="ExpectedCanary"/>; empty: unknown.</summary>
    public string ExpectedFingerprint { get; init; } = "";

    /// <summary>Parameters of the model.</summary>
    public long Parameters { get; init; }

    /// <summary>Tokens one step reads.</summary>
    public long TokensPerStep { get; init; }

    /// <summary>The job's device setting.</summary>
    public string Device { get; init; } = "";

    /// <summary>The job's compute precision.</summary>
    public string Dtype { get; init; } = "";
}
