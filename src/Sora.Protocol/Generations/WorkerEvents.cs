using Sora.Protocol.Exchange;

namespace Sora.Protocol.Generations;

/// <summary>What a worker is to compute.</summary>
/// <param name="Run">Run id.</param>
/// <param name="JobJson">Canonical resolved job.</param>
/// <param name="CorpusHash">Hash of the corpus manifest.</param>
/// <param name="CorpusDir">A folder that may hold the corpus; empty: none.</param>
/// <param name="ResumeFrom">Checkpoint folder; empty: initial weights.</param>
/// <param name="FirstStep">First step to compute.</param>
/// <param name="OutputDir">Where checkpoints go.</param>
public sealed record WorkerAssignment(string Run, string JobJson, string CorpusHash, string CorpusDir, string ResumeFrom, long FirstStep, string OutputDir);

/// <summary>A generation as it is announced to its members.</summary>
/// <param name="Run">Run id.</param>
/// <param name="Number">Generation number.</param>
/// <param name="Members">In rank order.</param>
/// <param name="FirstStep">First step it evaluates.</param>
/// <param name="Secret">Authenticates its exchange connections.</param>
public sealed record WorkerGeneration(string Run, long Number, IReadOnlyList<ExchangeMember> Members, long FirstStep, ReadOnlyMemory<byte> Secret);

/// <summary>Something a worker learns.</summary>
public abstract record WorkerEvent
{
    private WorkerEvent()
    {
    }

    /// <summary>The stream to the coordinator is open.</summary>
    public sealed record Connected : WorkerEvent;

    /// <summary>The coordinator gives work.</summary>
    public sealed record Assigned(WorkerAssignment Assignment) : WorkerEvent;

    /// <summary>The canary is computed.</summary>
    public sealed record Proved(string Run, string Canary, long Parameters) : WorkerEvent;

    /// <summary>The coordinator announces a generation.</summary>
    public sealed record GenerationFormed(WorkerGeneration Generation) : WorkerEvent;

    /// <summary>All peers of a generation are connected and this worker holds the state of <paramref name="Step"/>.</summary>
    public sealed record Joined(long Generation, long Step) : WorkerEvent;

    /// <summary>All members of a generation are ready.</summary>
    public sealed record Started(string Run, long Generation) : WorkerEvent;

    /// <summary>A step was committed here.</summary>
    public sealed record StepCommitted(long Generation, long Step) : WorkerEvent;

    /// <summary>The coordinator wants the run to stop after the step being computed.</summary>
    public sealed record StopOrdered(string Run, string Reason, bool Checkpoint) : WorkerEvent;

    /// <summary>This machine wants the worker to end: a signal.</summary>
    public sealed record StopSignalled(string Reason) : WorkerEvent;

    /// <summary>The last step is committed and, on the first rank, saved.</summary>
    public sealed record TrainingFinished(long Generation, long Step, string WeightsSha256) : WorkerEvent;

    /// <summary>Training stopped after <paramref name="Step"/>, as some worker was asked to.</summary>
    /// <param name="Generation">Its generation.</param>
    /// <param name="Step">Steps committed.</param>
    /// <param name="Checkpoint">What this worker saved; empty where another rank saves.</param>
    public sealed record TrainingStopped(long Generation, long Step, string Checkpoint) : WorkerEvent;

    /// <summary>The work ended with an error.</summary>
    /// <param name="Generation">Generation it was for; 0: before one.</param>
    /// <param name="Message">What happened, where, and what to do.</param>
    /// <param name="Detail">For the log: type and stack.</param>
    /// <param name="ExitCode">One of <see cref="Jobs.ExitCode"/>.</param>
    /// <param name="PeerLost">Only the echo of another worker's failure.</param>
    public sealed record WorkFailed(long Generation, string Message, string Detail, int ExitCode, bool PeerLost) : WorkerEvent;

    /// <summary>The coordinator does not want this worker.</summary>
    public sealed record Refused(string Reason, int ExitCode) : WorkerEvent;

    /// <summary>The coordinator says that the run is over.</summary>
    public sealed record Dismissed(string Reason) : WorkerEvent;

    /// <summary>The stream to the coordinator broke, or never opened.</summary>
    public sealed record CoordinatorLost(string Reason) : WorkerEvent;
}

/// <summary>Something the shell must do, in the order given.</summary>
public abstract record WorkerEffect
{
    private WorkerEffect()
    {
    }

    /// <summary>Introduce this worker.</summary>
    public sealed record SendHello : WorkerEffect;

    /// <summary>Open the corpus, make the model and compute its canary; the answer is <see cref="WorkerEvent.Proved"/>.</summary>
    public sealed record Prove(WorkerAssignment Assignment) : WorkerEffect;

    /// <summary>Tell the canary and how peers can dial this worker.</summary>
    public sealed record SendCanary(string Run, string Canary, long Parameters) : WorkerEffect;

    /// <summary>Connect the peers and take up the state of the first step; the answer is <see cref="WorkerEvent.Joined"/>.</summary>
    public sealed record Join(WorkerGeneration Generation, int Rank) : WorkerEffect;

    /// <summary>Tell that this worker could compute now.</summary>
    public sealed record SendReady(string Run, long Generation, long Step) : WorkerEffect;

    /// <summary>Compute.</summary>
    public sealed record Train(long Generation) : WorkerEffect;

    /// <summary>Let the exchange tell everyone to stop after the step being computed.</summary>
    public sealed record RequestStop(bool Checkpoint) : WorkerEffect;

    /// <summary>Report the end of the run.</summary>
    public sealed record SendFinished(string Run, long Generation, long Step, string WeightsSha256) : WorkerEffect;

    /// <summary>Report that this worker stopped as asked.</summary>
    public sealed record SendStopped(string Run, long Generation, long Step, string Checkpoint) : WorkerEffect;

    /// <summary>Report an error.</summary>
    public sealed record SendFailed(string Run, long Generation, long Step, string Message, string Detail, int ExitCode, bool PeerLost) : WorkerEffect;

    /// <summary>Give up the work in progress and tell the peers why.</summary>
    public sealed record Abandon(string Reason) : WorkerEffect;

    /// <summary>End the process, once everything before is sent. The last effect of all.</summary>
    /// <param name="Code">Exit code.</param>
    /// <param name="Message">What to say on stderr; null: nothing.</param>
    public sealed record Exit(int Code, string? Message) : WorkerEffect;
}
