using Sora.Coordinator.Runs;
using Sora.Protocol.Generations;

namespace Sora.Coordinator;

/// <summary>What the coordinator remembers of a run, also after a restart.</summary>
/// <param name="Run">Id of the run.</param>
/// <param name="Phase">Where it stands; <see cref="RunPhase.Idle"/> for a run that was never submitted, or was cut off and is not taken up again by itself.</param>
/// <param name="LastGeneration">Highest generation number used; 0 before the first.</param>
/// <param name="CheckpointStep">Step of the newest checkpoint; null without one.</param>
/// <param name="CheckpointPath">Folder of that checkpoint.</param>
public sealed record RunStatus(string Run, RunPhase Phase, long LastGeneration, long? CheckpointStep, string? CheckpointPath) : ICoordinatorMessage;
