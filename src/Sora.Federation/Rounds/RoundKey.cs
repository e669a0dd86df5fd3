using Sora.Protocol.Jobs;

namespace Sora.Federation.Rounds;

/// <summary>An attempt at a round. Both count from 1, and no pair is ever used twice in a run.</summary>
public readonly record struct RoundKey(int Round, int Attempt) : IComparable<RoundKey>
{
    /// <inheritdoc/>
    public int CompareTo(RoundKey other) => Round != other.Round ? Round.CompareTo(other.Round) : Attempt.CompareTo(other.Attempt);

    /// <inheritdoc/>
    public override string ToString() => Attempt == 1 ? $"round {Round}" : $"round {Round}, attempt {Attempt}";

    /// <summary>Before.</summary>
    public static bool operator <(RoundKey left, RoundKey right) => left.CompareTo(right) < 0;

    /// <summary>After.</summary>
    public static bool operator >(RoundKey left, RoundKey right) => left.CompareTo(right) > 0;

    /// <summary>Not after.</summary>
    public static bool operator <=(RoundKey left, RoundKey right) => left.CompareTo(right) <= 0;

    /// <summary>Not before.</summary>
    public static bool operator >=(RoundKey left, RoundKey right) => left.CompareTo(right) >= 0;
}

/// <summary>A global model: round r begins with number r-1 and makes number r.</summary>
/// <param name="Number">0: what the run began with.</param>
/// <param name="Sha256">Of its weights.</param>
public sealed record ModelVersion(int Number, string Sha256);

/// <summary>What an update is known by: who made it, for which attempt, and its bytes.</summary>
public sealed record UpdateId(RoundKey Round, string Site, string Sha256);

/// <summary>An update that a site holds and wants to send.</summary>
/// <param name="Id">Which.</param>
/// <param name="Bytes">Its length.</param>
/// <param name="Weight">Examples or tokens it was trained on.</param>
/// <param name="Loss">Mean loss of the local training.</param>
public sealed record UpdateOffer(UpdateId Id, long Bytes, double Weight, double Loss);

/// <summary>An update that counts.</summary>
/// <param name="Id">Which.</param>
/// <param name="Weight">Examples or tokens it was trained on.</param>
/// <param name="Loss">Mean loss of the local training.</param>
/// <param name="Staleness">Global models made since the one it was trained on.</param>
/// <param name="Seconds">From the opening of the round, or the coordinator's restart in it, to the update's arrival.</param>
public sealed record AcceptedUpdate(UpdateId Id, double Weight, double Loss, int Staleness, double Seconds);

/// <summary>How a flat vector of parameters is cut for travelling.</summary>
/// <param name="Parameters">Its length.</param>
/// <param name="ChunkParameters">Parameters in a chunk; the last one may be shorter.</param>
public sealed record ChunkLayout(long Parameters, int ChunkParameters)
{
    /// <summary>How many chunks there are.</summary>
    public int Chunks => checked((int)((Parameters + ChunkParameters - 1) / ChunkParameters));
}

/// <summary>A federated run as it was submitted.</summary>
/// <param name="Run">Its id.</param>
/// <param name="Seed">Decides who is sampled.</param>
/// <param name="Initial">The model it begins with.</param>
/// <param name="Chunks">How updates are cut.</param>
/// <param name="Settings">The job's federated section.</param>
public sealed record FederatedRun(string Run, long Seed, ModelVersion Initial, ChunkLayout Chunks, FederationSettings Settings)
{
    internal bool Private => Settings.DifferentialPrivacy is not null;

    internal bool Asynchronous => Settings.Mode == FederationMode.Asynchronous;

    internal bool Secure => Settings.SecureAggregation is not null;
}
