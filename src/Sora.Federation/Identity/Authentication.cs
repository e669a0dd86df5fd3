namespace Sora.Federation.Identity;

/// <summary>Who proves who they are.</summary>
public enum Role
{
    /// <summary>A site, to a coordinator.</summary>
    Site,
    /// <summary>A coordinator, to a site.</summary>
    Coordinator,
}

/// <summary>What both sides know before one of them proves who it is. All of it is signed, so a proof is good for nothing else.</summary>
/// <param name="Purpose">What the session is for, such as "join".</param>
/// <param name="Run">The run.</param>
/// <param name="Site">Fingerprint of the site's key.</param>
/// <param name="Coordinator">Fingerprint of the coordinator's key.</param>
/// <param name="CoordinatorNonce">What the coordinator made up: a challenge of <see cref="Challenges"/>.</param>
/// <param name="SiteNonce">What the site made up, <see cref="Authentication.NonceLength"/> bytes.</param>
public sealed record Handshake(
    string Purpose, string Run, string Site, string Coordinator, ReadOnlyMemory<byte> CoordinatorNonce, ReadOnlyMemory<byte> SiteNonce);

/// <summary>The result of an authentication.</summary>
/// <param name="Site">The site that it is; null when refused.</param>
/// <param name="Refusal">Why it was refused; null when it was not.</param>
public sealed record AuthenticationResult(AdmissionEntry? Site, string? Refusal)
{
    /// <summary>Whether the site is who it says it is and is let in.</summary>
    public bool IsGood => Refusal is null;
}

/// <summary>Challenge and response: each side signs both nonces and what they are for, in its own role. Pure, but for the challenge that is used up.</summary>
public static class Authentication
{
    /// <summary>Bytes of a site's nonce.</summary>
    public const int NonceLength = 32;

    /// <summary>Proves that the holder of a key takes part in this handshake.</summary>
    public static byte[] Prove(IdentityKey key, Role role, Handshake handshake) => key.Sign(TranscriptOf(role, handshake));

    /// <summary>Whether a proof is the key's, in this role and for this handshake.</summary>
    public static bool Verify(PublicKey key, Role role, Handshake handshake, ReadOnlySpan<byte> proof)
    {
        var named = role == Role.Site ? handshake.Site : handshake.Coordinator;
        return key.Fingerprint == named && handshake.SiteNonce.Length == NonceLength && key.Verify(TranscriptOf(role, handshake), proof);
    }

    /// <summary>A coordinator judges a site's proof: signature first, admission next, and last the challenge, which is used up.</summary>
    public static AuthenticationResult Judge(AdmissionList admissions, Challenges challenges, Handshake handshake, ReadOnlySpan<byte> proof, DateTimeOffset now)
    {
        var admission = admissions.Judge(handshake.Site, now);
        if (admission.Entry is not { } site) return new(null, admission.Refusal);
        if (!Verify(PublicKey.Import(Convert.FromBase64String(site.PublicKey)), Role.Site, handshake, proof)) return new(null, $"the proof is not signed by the key of '{site.Name}' for this handshake");
        return challenges.Redeem(handshake.CoordinatorNonce.Span) switch
        {
            ChallengeVerdict.Fresh => new(site, null),
            ChallengeVerdict.Foreign => new(null, "the challenge is not one of this coordinator's"),
            ChallengeVerdict.Expired => new(null, "the challenge has expired; ask for a new one"),
            ChallengeVerdict.Replayed => new(null, "the challenge was answered before"),
            _ => new(null, "too many sites proved themselves lately; try again later"),
        };
    }

    private static byte[] TranscriptOf(Role role, Handshake handshake) => new Transcript(role == Role.Site ? "site-authentication" : "coordinator-authentication")
        .Add(handshake.Purpose).Add(handshake.Run).Add(handshake.Site).Add(handshake.Coordinator)
        .Add(handshake.CoordinatorNonce.Span).Add(handshake.SiteNonce.Span).ToArray();
}
