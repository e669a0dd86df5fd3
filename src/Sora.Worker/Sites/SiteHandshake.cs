using System.Security.Cryptography;
using Google.Protobuf;
using Sora.Federation.Identity;
using Sora.Protocol.Api;
using Sora.Protocol.Jobs;

namespace Sora.Worker.Sites;

/// <summary>What a coordinator's challenge came to.</summary>
/// <param name="Coordinator">Its key, when it proved to have it and is one the site may talk to.</param>
/// <param name="Proof">The site's own proof.</param>
/// <param name="Refusal">Why the site does not answer; null: it does.</param>
/// <param name="Claimed">Fingerprint of the key the coordinator showed.</param>
internal sealed record ChallengeAnswer(PublicKey? Coordinator, SiteProof? Proof, string? Refusal, string Claimed = "");

/// <summary>The beginning of a stream: the site says which key it has, and proves it to a coordinator that has proved itself first.</summary>
internal sealed class SiteHandshake(IdentityKey key, string run, string host, int processId)
{
    /// <summary>Version of the messages between sites and coordinators.</summary>
    public const int Version = 1;

    private const string Purpose = "join";
    private const int MaxKeyBytes = 1024;
    private readonly byte[] _nonce = RandomNumberGenerator.GetBytes(Authentication.NonceLength);

    /// <summary>The run that was agreed on.</summary>
    public string Run { get; private set; } = run;

    /// <summary>What names the session; empty before the challenge.</summary>
    public string Session { get; private set; } = "";

    public SiteIntroduction Introduce() => new()
    {
        ProtocolVersion = Version,
        Fingerprint = key.Public.Fingerprint,
        Nonce = ByteString.CopyFrom(_nonce),
        Run = Run,
        Host = host,
        ProcessId = (uint)processId,
    };

    /// <summary>Judges the coordinator, before the site signs anything for it.</summary>
    public ChallengeAnswer Answer(SiteChallenge challenge, Func<string, bool> isKnown)
    {
        if (Session.Length > 0)
            return Refused("it sent a second challenge");
        if (challenge.Challenge.Length != Challenges.Length || challenge.CoordinatorKey.Length > MaxKeyBytes || !JobValidation.IsName(challenge.Run))
            return Refused("its challenge is malformed");
        if (Run.Length > 0 && challenge.Run != Run)
            return Refused($"it asks for run {challenge.Run}, and this site has work of run {Run}");
        PublicKey coordinator;
        try
        {
            coordinator = PublicKey.Import(challenge.CoordinatorKey.Span);
        }
        catch (SoraException e)
        {
            return Refused($"its key is none: {e.Message}");
        }
        if (!isKnown(coordinator.Fingerprint))
            return Refused($"its key {coordinator.Fingerprint} is not among the 'coordinators' of this site's policy", coordinator.Fingerprint);
        var handshake = new Handshake(Purpose, challenge.Run, key.Public.Fingerprint, coordinator.Fingerprint, challenge.Challenge.Memory, _nonce);
        if (!Authentication.Verify(coordinator, Role.Coordinator, handshake, challenge.Proof.Span))
            return Refused("its proof is not signed by the key it shows, for this stream", coordinator.Fingerprint);
        (Run, Session) = (challenge.Run, Convert.ToHexStringLower(challenge.Challenge.Span));
        return new ChallengeAnswer(coordinator, new SiteProof { Proof = ByteString.CopyFrom(Authentication.Prove(key, Role.Site, handshake)) }, null, coordinator.Fingerprint);
    }

    private static ChallengeAnswer Refused(string reason, string claimed = "") => new(null, null, reason, claimed);
}
