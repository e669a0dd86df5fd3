using Sora.Model.Training;
using Sora.Protocol.Exchange;
using Sora.Protocol.Generations;

namespace Sora.Worker.Work;

/// <summary>What a worker computes with, as its Hello tells.</summary>
/// <param name="Device"><c>cpu</c> or the GPU.</param>
/// <param name="Threads">Threads it was told to use whatever the job says; 0: the job's.</param>
/// <param name="Libtorch">Version of libtorch.</param>
/// <param name="Fingerprint">What fixes the bits, in words.</param>
internal sealed record Machine(string Device, int Threads, string Libtorch, string Fingerprint);

/// <summary>What is learned by preparing an assignment.</summary>
/// <param name="Canary">Gradient hash of the job's fixed micro-batch at the initial weights.</param>
/// <param name="Parameters">Elements of the flat gradient.</param>
/// <param name="PeerTimeout">How long to wait for a silent peer.</param>
internal sealed record Proof(string Canary, long Parameters, TimeSpan PeerTimeout);

/// <summary>How training ended.</summary>
/// <param name="Step">Steps committed.</param>
/// <param name="Halted">Before the last step, on request.</param>
/// <param name="WeightsSha256">Hash of the weights; empty when halted.</param>
internal sealed record WorkEnd(long Step, bool Halted, string WeightsSha256);

/// <summary>What training tells while it goes on. Called on the training thread, and about checkpoints on others too.</summary>
internal interface IWorkReports
{
    /// <summary>A step was committed.</summary>
    /// <param name="step">Steps committed.</param>
    /// <param name="computeSeconds">Forward, backward and the update.</param>
    /// <param name="waitSeconds">Inside the exchange.</param>
    void Committed(long step, double computeSeconds, double waitSeconds);

    /// <summary>What the state is after a step that every member hashes: replicas must be equal.</summary>
    void StateHash(long step, string hash);

    /// <summary>People are to know of a step.</summary>
    void Step(StepResult step);

    void Evaluation(EvaluationResult evaluation);

    void Checkpoint(long step, string path, string weightsSha256, TimeSpan duration);

    /// <summary>A checkpoint was to be written and is not.</summary>
    void NoCheckpoint(long step, string reason);

    /// <summary>People are to know of something else.</summary>
    void Warning(string message);
}

/// <summary>
/// The numbers behind a session: one trainer that takes part in one generation after the other. Everything is called on the
/// training thread.
/// </summary>
internal interface IRunWork : IDisposable
{
    /// <summary>Steps the state has committed; -1: none of the run is held.</summary>
    long HeldStep { get; }

    /// <summary>Loads libtorch and looks at the machine.</summary>
    Machine Inspect();

    /// <summary>Opens the corpus, makes the model with its initial weights and computes the canary.</summary>
    Proof Prove(WorkerAssignment assignment, CancellationToken cancellationToken);

    /// <summary>Where the state held lies in host memory; valid until the next step.</summary>
    IReadOnlyList<StateRegion> StateRegions();

    /// <summary>Takes up the state of a checkpoint, or the initial one when the path is empty.</summary>
    void Restore(string checkpoint, long step);

    /// <summary>Takes up a state from elsewhere: <paramref name="fetch"/> fills memory of its own, which counts only when it returns.</summary>
    void TakeOver(long step, Action<IReadOnlyList<StateRegion>> fetch);

    /// <summary>Computes to the last step or until some worker is asked to halt.</summary>
    /// <param name="generation">The generation.</param>
    /// <param name="exchange">Its exchange.</param>
    /// <param name="rank">This worker's in it. The first one writes the last checkpoint.</param>
    /// <param name="haltRequested">Whether this worker was asked to halt after the step being computed.</param>
    /// <param name="reports">Told what happens.</param>
    WorkEnd Train(WorkerGeneration generation, IGradientExchange exchange, int rank, Func<bool> haltRequested, IWorkReports reports);

    /// <summary>Writes a checkpoint of the state held, and reports it, or why there is none.</summary>
    void Save(long step, IWorkReports reports);
}
