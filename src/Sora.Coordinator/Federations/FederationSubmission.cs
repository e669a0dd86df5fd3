using Sora.Federation.Rounds;
using Sora.Federation.Wire;
using Sora.Protocol.Jobs;

namespace Sora.Coordinator.Federations;

/// <summary>A federated run to be carried out.</summary>
public sealed record FederationSubmission
{
    // With room for what gRPC and the message add to a chunk, below its limit of 4 MiB a message.
    private const int MostChunkParameters = 900_000;

    /// <summary>The run; its id begins with <c>fed-</c> and is unique for the life of the journal. Submitted again after a restart, it goes on.</summary>
    public required FederatedRun Run { get; init; }

    /// <summary>The resolved job as canonical JSON; sites get it byte for byte.</summary>
    public required string JobJson { get; init; }

    /// <summary>Where everything of the run is kept, in the folder <c>federation</c>; the initial model is there as <c>models/0.f32</c>.</summary>
    public required string OutputDir { get; init; }

    /// <exception cref="SoraException">It cannot be carried out as it is.</exception>
    internal SubmitFederation ToMessage()
    {
        if (!FederationRegion.Owns(Run.Run) || !JobValidation.IsName(Run.Run))
            throw new SoraException($"'{Run.Run}' cannot be the id of a federated run: it begins with {FederationRegion.RunPrefix}, and has letters, digits, '-', '_' and '.' only.", ExitCode.Usage);
        FederationValidation.Require(Run.Settings);
        if (ServerStrategies.Objection(Run.Settings) is { } objection)
            throw new SoraException($"Run {Run.Run} cannot be carried out: {objection}", ExitCode.Usage);
        if (Run.Chunks.Parameters is < 1 or > int.MaxValue / sizeof(float) || Run.Chunks.ChunkParameters is < 1 or > MostChunkParameters)
            throw new SoraException($"Run {Run.Run} has {Run.Chunks.Parameters} parameters in chunks of {Run.Chunks.ChunkParameters}; 1 to {int.MaxValue / sizeof(float)} can be federated, in chunks of at most {MostChunkParameters}.", ExitCode.Usage);
        if (Run.Initial.Number != 0 || OutputDir.Length == 0)
            throw new SoraException($"Run {Run.Run} begins with model 0, in the folder of its output.", ExitCode.Usage);
        return new SubmitFederation(Run, JobJson, Path.GetFullPath(OutputDir));
    }

    /// <exception cref="SoraException">It is malformed, or cannot be carried out.</exception>
    internal static SubmitFederation Read(string run, string jobJson, ReadOnlyMemory<byte> federated, string outputDir)
    {
        var submission = new FederationSubmission { Run = FederatedRunFormat.Read(federated), JobJson = jobJson, OutputDir = outputDir };
        return submission.Run.Run == run
            ? submission.ToMessage()
            : throw new SoraException($"The submission calls its run '{run}', and the run calls itself '{submission.Run.Run}'.", ExitCode.Usage);
    }
}
