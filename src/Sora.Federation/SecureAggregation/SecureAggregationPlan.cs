using System.Security.Cryptography;
using Sora.Federation.Identity;
using Sora.Protocol.Jobs;

namespace Sora.Federation.SecureAggregation;

/// <summary>What the coordinator announces before a secure round; all keys and signatures of the round are bound to it.</summary>
/// <param name="SessionId">Random, fresh for each round, see <see cref="NewSessionId"/>.</param>
/// <param name="Run">The job.</param>
/// <param name="Round">The round of the job.</param>
/// <param name="Parameters">Length of an update.</param>
/// <param name="MinimumSites">Fewest sites that must advertise keys.</param>
/// <param name="Encoding">How floats become integers.</param>
/// <param name="Threat">What the round is to withstand.</param>
public sealed record SecureAggregationPlan(
    byte[] SessionId, string Run, int Round, int Parameters, int MinimumSites, FixedPointEncoding Encoding, ThreatModel Threat)
{
    /// <summary>Length of a session id.</summary>
    public const int SessionIdBytes = 32;

    /// <summary>Elements of a masked input: the parameters and, last, the weight.</summary>
    public int Elements => Parameters + 1;

    /// <summary>A fresh session id.</summary>
    public static byte[] NewSessionId() => RandomNumberGenerator.GetBytes(SessionIdBytes);

    /// <summary>Throws if the plan makes no sense.</summary>
    public void Validate()
    {
        if (SessionId.Length != SessionIdBytes)
            throw new SoraException($"A session id has {SessionIdBytes} bytes, this one has {SessionId.Length}.", ExitCode.Usage);
        if (Parameters < 1 || Parameters > Array.MaxLength - 1)
            throw new SoraException($"A secure round sums 1 to {Array.MaxLength - 1} parameters, not {Parameters}.", ExitCode.Usage);
        if (MinimumSites < 2 || MinimumSites > Encoding.MaximumSites)
            throw new SoraException($"A secure round needs 2 to {Encoding.MaximumSites} sites, not {MinimumSites}.", ExitCode.Usage);
        Threat.Validate();
    }

    internal byte[] Digest() => new Transcript("secure-aggregation/plan").Add(SessionId).Add(Run).Add(Round).Add(Parameters).Add(MinimumSites)
        .Add(Encoding.MaximumSites).Add(BitConverter.SingleToInt32Bits(Encoding.ValueRange)).Add(Encoding.MaximumWeight)
        .Add(BitConverter.DoubleToInt64Bits(Threat.AdversarialRate)).Add(BitConverter.DoubleToInt64Bits(Threat.DropoutRate)).Add((int)Threat.Adversary).Hash();
}

/// <summary>What a site demands of any secure round, whatever the coordinator announces.</summary>
/// <param name="MinimumSurvivors">Fewest sites in the sum, and fewest signatures under their list; of two, each learns the other's update.</param>
/// <param name="MinimumNeighbours">Fewest sites, besides itself, whose masks protect its input to the end.</param>
/// <param name="MinimumThreshold">Fewest shares that may restore a secret of its own.</param>
/// <param name="MaximumSites">Most sites in a round: bounds the work the coordinator can ask for.</param>
/// <param name="LeastAdversary">The round must withstand at least this adversary: threshold and quorum follow from it.</param>
/// <param name="LeastAdversarialRate">... with at least this part of the sites in league with it.</param>
public sealed record SecureAggregationRules(
    int MinimumSurvivors = 3, int MinimumNeighbours = 2, int MinimumThreshold = 2, int MaximumSites = 4096,
    AdversaryClass LeastAdversary = AdversaryClass.SemiMaliciousServer, double LeastAdversarialRate = 0);
