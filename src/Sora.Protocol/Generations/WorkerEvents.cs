using Sora.Protocol.Exchange;

namespace Sora.Protocol.Generations;

/// <summary>What a worker is to compute.</summary>
/// <param name="Run">Run id.</param>
/// <param name="JobJson">Canonical resolved job.</param>
/// <param name="CorpusHash">Hash of the corpus manifest.</param>
/// <param name="CorpusDir">A folder that may hold the corpus; empty: none.</param>
/// <param name="OutputDir">Where checkpoints go.</param>
public sealed record WorkerAssignment(string Run, string JobJson, string CorpusHash, string CorpusDir, string OutputDir);

/// <summary>A generation as it is announced to its members.</summary>
/// <param name="Run">Run id.</param>
/// <param name="Number">Generation number.</param>
/// <param name="Members">In rank order.</param>
/// <param name="FirstStep">First step it evaluates.</param>
/// <param name="Secret">Authenticates its exchange connections.</param>
public sealed record WorkerGeneration(string Run, long Number, IReadOnlyList<ExchangeMember> Members, long FirstStep, ReadOnlyMemory<byte> Secret)
{
    /// <summary>Ranks that hold the state of the first step in memory.</summary>
    public IReadOnlyList<int> Holders { get; init; } = [];

    /// <summary>Checkpoint folder of the first step, read when there are no holders; empty: the initial weights.</summary>
    public string RestoreFrom { get; init; } = "";

    /// <summary>The rank that reports steps: one that was there before, if any was, since it must tell again what it remembers.</summary>
    public int Reporter => Holders.Count > 0 ? Holders[0] : 0;

    /// <summary>The last step people know of: the reporter tells again what it remembers of later ones.</summary>
    public long ReportedStep { get; init; } = -1;

    /// <summary>The last evaluation people know of.</summary>
    public long EvaluatedStep { get; init; } = -1;

    /// <summary>The last checkpoint.</summary>
    public long SavedStep { get; init; } = -1;
}

/// <summary>What a worker tells of itself whenever it dials.</summary>
/// <param name="Run">Run it works for; empty: none.</param>
/// <param name="Generation">The last generation it took part in; 0: none.</param>
/// <param name="Step">Steps its weights have committed; -1: it holds no state of the run.</param>
/// <param name="Canary">Its canary; empty: not computed yet.</param>
/// <param name="Parameters">Elements of the flat gradient.</param>
/// <param name="InGeneration">It has not halted in that generation.</param>
/// <param name="Draining">It wants to leave.</param>
public sealed record WorkerStanding(string Run, long Generation, long Step, string Canary, long Parameters, bool InGeneration, bool Draining);

/// <summary>Something a worker learns.</summary>
public abstract record WorkerEvent
{
    private WorkerEvent()
    {
    }

    /// <summary>A stream to a coordinator is open: the first one, or another after <see cref="Disconnected"/>.</summary>
    public sealed record Connected : WorkerEvent;

    /// <summary>The stream to the coordinator broke; the shell dials again by itself.</summary>
    public sealed record Disconnected(string Reason) : WorkerEvent;

    /// <summary>No coordinator answered for so long that the shell has given up.</summary>
    public sealed record CoordinatorGone(string Reason) : WorkerEvent;

    /// <summary>The coordinator gives work.</summary>
    public sealed record Assigned(WorkerAssignment Assignment) : WorkerEvent;

    /// <summary>The canary is computed.</summary>
    public sealed record Proved(string Run, string Canary, long Parameters) : WorkerEvent;

    /// <summary>The coordinator announces a generation.</summary>
    public sealed record GenerationFormed(WorkerGeneration Generation) : WorkerEvent;

    /// <summary>All peers of a generation are connected and this worker holds the state of <paramref name="Step"/>.</summary>
    public sealed record Joined(long Generation, long Step) : WorkerEvent;

    /// <summary>A step was committed here.</summary>
    public sealed record StepCommitted(long Generation, long Step) : WorkerEvent;

    /// <summary>The coordinator wants this worker at a step boundary.</summary>
    /// <param name="Run">Run id.</param>
    /// <param name="Generation">The generation to halt in.</param>
    /// <param name="Gracefully">After the step being computed, together with all members; otherwise at once.</param>
    /// <param name="Reason">Why, for peers and logs.</param>
    public sealed record HaltOrdered(string Run, long Generation, bool Gracefully, string Reason) : WorkerEvent;

    /// <summary>Joining or training ended at a step boundary: as it was asked to, or because the exchange broke.</summary>
    /// <param name="Generation">Its generation.</param>
    /// <param name="Step">Steps the weights have committed; -1: this worker holds no state of the run.</param>
    /// <param name="Reason">What broke; empty: it was asked to halt.</param>
    /// <param name="Suspects">Ids of peers it could not reach or heard nothing from.</param>
    /// <param name="NotFinite">Loss or gradient of the step were not finite: those of its own lanes where they were not. Null: nothing of the kind.</param>
    public sealed record WorkHalted(long Generation, long Step, string Reason, IReadOnlyList<string> Suspects, IReadOnlyList<int>? NotFinite = null) : WorkerEvent;

    /// <summary>The coordinator wants a checkpoint of the state a halted worker holds.</summary>
    public sealed record SaveOrdered(string Run, long Step) : WorkerEvent;

    /// <summary>This machine wants the worker to end: a signal.</summary>
    public sealed record DrainSignalled(string Reason) : WorkerEvent;

    /// <summary>The last step is committed and, on the first rank, saved.</summary>
    public sealed record TrainingFinished(long Generation, long Step, string WeightsSha256) : WorkerEvent;

    /// <summary>The work ended with an error of this worker, or of the job.</summary>
    /// <param name="Generation">Generation it was for; 0: before one.</param>
    /// <param name="Message">What happened, where, and what to do.</param>
    /// <param name="Detail">For the log: type and stack.</param>
    /// <param name="ExitCode">One of <see cref="Jobs.ExitCode"/>.</param>
    /// <param name="CannotSave">The work is done; only its result cannot be written.</param>
    public sealed record WorkFailed(long Generation, string Message, string Detail, int ExitCode, bool CannotSave = false) : WorkerEvent;

    /// <summary>The coordinator does not want this worker.</summary>
    public sealed record Refused(string Reason, int ExitCode) : WorkerEvent;

    /// <summary>The coordinator lets the worker go.</summary>
    public sealed record Dismissed(string Reason, int ExitCode) : WorkerEvent;
}

/// <summary>Something the shell must do, in the order given. What is sent while no stream is open is dropped: the standing tells it again.</summary>
public abstract record WorkerEffect
{
    private WorkerEffect()
    {
    }

    /// <summary>Introduce this worker on a new stream.</summary>
    public sealed record SendHello(WorkerStanding Standing) : WorkerEffect;

    /// <summary>Open the corpus, make the model and compute its canary; the answer is <see cref="WorkerEvent.Proved"/>.</summary>
    public sealed record Prove(WorkerAssignment Assignment) : WorkerEffect;

    /// <summary>Tell the canary and how peers can dial this worker.</summary>
    public sealed record SendCanary(string Run, string Canary, long Parameters) : WorkerEffect;

    /// <summary>
    /// Connect the peers and take up the state of the first step; the answer is <see cref="WorkerEvent.Joined"/>, or
    /// <see cref="WorkerEvent.WorkHalted"/> with the step held before: a state half received is never taken up.
    /// </summary>
    public sealed record Join(WorkerGeneration Generation, int Rank) : WorkerEffect;

    /// <summary>Tell that this worker computes now.</summary>
    public sealed record SendReady(string Run, long Generation, long Step) : WorkerEffect;

    /// <summary>Compute; the answer is <see cref="WorkerEvent.WorkHalted"/> or <see cref="WorkerEvent.TrainingFinished"/>.</summary>
    public sealed record Train(long Generation) : WorkerEffect;

    /// <summary>Let the exchange tell everyone to halt after the step being computed.</summary>
    public sealed record HaltAfterStep(long Generation) : WorkerEffect;

    /// <summary>Leave the exchange at once, telling the peers why; joining or training then ends.</summary>
    public sealed record BreakOff(long Generation, string Reason) : WorkerEffect;

    /// <summary>Tell that this worker has halted.</summary>
    public sealed record SendHalted(string Run, long Generation, long Step, string Reason, IReadOnlyList<string> Suspects, IReadOnlyList<int>? NotFinite = null) : WorkerEffect;

    /// <summary>Tell that this worker wants to leave.</summary>
    public sealed record SendDraining(string Reason) : WorkerEffect;

    /// <summary>Write a checkpoint of the state held, and report it.</summary>
    public sealed record Save(long Step) : WorkerEffect;

    /// <summary>Report the end of the run.</summary>
    public sealed record SendFinished(string Run, long Generation, long Step, string WeightsSha256) : WorkerEffect;

    /// <summary>Report an error.</summary>
    public sealed record SendFailed(string Run, long Generation, long Step, string Message, string Detail, int ExitCode, bool CannotSave = false) : WorkerEffect;

    /// <summary>Give up the work in progress and tell the peers why.</summary>
    public sealed record Abandon(string Reason) : WorkerEffect;

    /// <summary>End the process, once everything before is sent. The last effect of all.</summary>
    /// <param name="Code">Exit code.</param>
    /// <param name="Message">What to say on stderr; null: nothing.</param>
    public sealed record Exit(int Code, string? Message) : WorkerEffect;
}
