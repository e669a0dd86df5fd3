using Sora.Protocol.Api;
using Sora.Protocol.Generations;

namespace Sora.Protocol.Tests.Simulation;

/// <summary>The protocol the simulation plays: the real one, or one that is broken on purpose to see whether anybody notices.</summary>
internal sealed record ProtocolRules
{
    public delegate (CoordinatorState State, IReadOnlyList<CoordinatorEffect> Effects) CoordinatorRule(CoordinatorState state, CoordinatorEvent happened);

    public delegate (WorkerProtocolState State, IReadOnlyList<WorkerEffect> Effects) WorkerRule(WorkerProtocolState state, WorkerEvent happened);

    public CoordinatorRule Coordinator { get; init; } = CoordinatorProtocol.Decide;

    public Func<CoordinatorState, RunDecision, CoordinatorState> Apply { get; init; } = CoordinatorProtocol.Apply;

    public WorkerRule Worker { get; init; } = WorkerProtocol.Decide;

    /// <summary>What becomes of messages to workers.</summary>
    public Func<FromCoordinator, FromCoordinator> Downwards { get; init; } = message => message;

    /// <summary>A shell that takes up a state before all of it is there.</summary>
    public bool TakesHalfAState { get; init; }

    /// <summary>A trainer that applies a step whatever it is.</summary>
    public bool CommitsWhatIsNotFinite { get; init; }

    /// <summary>A shell that does not know which stream of a worker a message, or an end, came from.</summary>
    public bool MixesStreams { get; init; }
}
