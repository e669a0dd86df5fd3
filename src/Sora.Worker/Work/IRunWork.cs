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
/// <param name="Stopped">Before the last step, on request.</param>
/// <param name="WeightsSha256">Hash of the weights.</param>
/// <param name="Checkpoint">The checkpoint this worker saved of that step; empty: none.</param>
internal sealed record WorkEnd(long Step, bool Stopped, string WeightsSha256, string Checkpoint);

/// <summary>What training tells while it goes on. Called on the training thread.</summary>
internal interface IWorkReports
{
    void Step(StepResult step);

    void Evaluation(EvaluationResult evaluation);

    void Checkpoint(long step, string path, string weightsSha256, TimeSpan duration);

    void Warning(string message);
}

/// <summary>The numbers behind a session. Everything but <see cref="RequestStop"/> is called on the training thread.</summary>
internal interface IRunWork : IDisposable
{
    /// <summary>Loads libtorch and looks at the machine.</summary>
    Machine Inspect();

    /// <summary>Opens the corpus, makes the model with its initial weights and computes the canary.</summary>
    Proof Prove(WorkerAssignment assignment, CancellationToken cancellationToken);

    /// <summary>Takes up the state of the first step: the assignment's checkpoint, or the initial weights.</summary>
    /// <returns>Steps that state has committed.</returns>
    long Restore(IWorkReports reports);

    /// <summary>Computes to the last step or until some worker is asked to stop.</summary>
    /// <param name="exchange">The generation's exchange.</param>
    /// <param name="writesCheckpoints">Whether this worker is the one that writes them.</param>
    /// <param name="reports">Told what happens.</param>
    WorkEnd Train(IGradientExchange exchange, bool writesCheckpoints, IWorkReports reports);

    /// <summary>Asks for a stop after the step being computed. May be called on any thread.</summary>
    void RequestStop(bool checkpoint);
}
