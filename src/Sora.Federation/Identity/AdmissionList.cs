using Sora.Protocol.Jobs;

namespace Sora.Federation.Identity;

/// <summary>Why and when a key was revoked.</summary>
/// <param name="At">When.</param>
/// <param name="By">Who did it.</param>
/// <param name="Reason">Why.</param>
public sealed record Revocation(DateTimeOffset At, string By, string Reason);

/// <summary>A site that was registered.</summary>
/// <param name="Name">Its name.</param>
/// <param name="Fingerprint">Its key's fingerprint.</param>
/// <param name="PublicKey">Its key, SubjectPublicKeyInfo in Base64.</param>
/// <param name="RegisteredAt">When it was registered.</param>
/// <param name="RegisteredBy">Who did it.</param>
/// <param name="ExpiresAt">When its registration ends; null: it does not.</param>
/// <param name="Revoked">Its revocation; null: none.</param>
public sealed record AdmissionEntry(
    string Name, string Fingerprint, string PublicKey, DateTimeOffset RegisteredAt, string RegisteredBy, DateTimeOffset? ExpiresAt = null, Revocation? Revoked = null);

/// <summary>What an admission list says of a key.</summary>
/// <param name="Entry">The site, when it is admitted; else null.</param>
/// <param name="Refusal">Why it is not; null when it is.</param>
public sealed record Admission(AdmissionEntry? Entry, string? Refusal)
{
    /// <summary>Whether the key is admitted.</summary>
    public bool IsAdmitted => Refusal is null;
}

/// <summary>The sites a coordinator lets in. Immutable; entries are never removed, so that it also tells who was let in once.</summary>
/// <param name="Entries">All entries, oldest first.</param>
public sealed record AdmissionList(IReadOnlyList<AdmissionEntry> Entries)
{
    /// <summary>A list that lets nobody in.</summary>
    public static AdmissionList Empty { get; } = new([]);

    /// <summary>Adds a site.</summary>
    /// <exception cref="SoraException">Its name or key is taken, or the key was revoked.</exception>
    public AdmissionList Register(NamedPublicKey site, DateTimeOffset now, string by, DateTimeOffset? expiresAt = null)
    {
        KeyFiles.RequireName(site.Name);
        if (expiresAt <= now) throw new SoraException($"The registration would have expired already, at {expiresAt:u}.", ExitCode.Usage);
        if (Entries.FirstOrDefault(entry => entry.Fingerprint == site.Key.Fingerprint) is { } known)
        {
            throw new SoraException(known.Revoked is { } revoked
                ? $"This key was revoked at {revoked.At:u} ({revoked.Reason}) and stays so. Let the site make a new one."
                : $"This key is registered already, as '{known.Name}'. Nothing was changed.", ExitCode.Usage);
        }
        if (Entries.Any(entry => entry.Name == site.Name && entry.Revoked is null))
            throw new SoraException($"'{site.Name}' is registered already, with another key. If it is to have this one from now on, revoke the old one first.", ExitCode.Usage);
        var added = new AdmissionEntry(site.Name, site.Key.Fingerprint, Convert.ToBase64String(site.Key.SubjectPublicKeyInfo.Span), now, by, expiresAt);
        return new AdmissionList([.. Entries, added]);
    }

    /// <summary>Marks a site as revoked.</summary>
    /// <param name="site">Its name or its key's fingerprint.</param>
    /// <param name="reason">Why.</param>
    /// <param name="now">When.</param>
    /// <param name="by">Who does it.</param>
    /// <exception cref="SoraException">There is no such site, or it is revoked already.</exception>
    public AdmissionList Revoke(string site, string reason, DateTimeOffset now, string by)
    {
        var meant = Entries.LastOrDefault(entry => (entry.Name == site && entry.Revoked is null) || entry.Fingerprint == site)
            ?? Entries.LastOrDefault(entry => entry.Name == site);
        if (meant is null)
        {
            var hint = NearestName.Of(site, Entries.Select(entry => entry.Name)) is { } near ? $" Did you mean '{near}'?" : " 'sora site list' shows all.";
            throw new SoraException($"There is no site '{site}'.{hint}", ExitCode.Usage);
        }
        if (meant.Revoked is { } before) throw new SoraException($"'{meant.Name}' was revoked already, at {before.At:u} ({before.Reason}). Nothing was changed.", ExitCode.Usage);
        return new AdmissionList([.. Entries.Select(entry => ReferenceEquals(entry, meant) ? entry with { Revoked = new Revocation(now, by, reason) } : entry)]);
    }

    /// <summary>Whether a key is let in now.</summary>
    public Admission Judge(string fingerprint, DateTimeOffset now) => Entries.FirstOrDefault(entry => entry.Fingerprint == fingerprint) switch
    {
        null => new Admission(null, $"the key {fingerprint} is not registered"),
        { Revoked: { } revoked } entry => new Admission(null, $"the key of '{entry.Name}' was revoked at {revoked.At:u}: {revoked.Reason}"),
        { ExpiresAt: { } end } entry when now >= end => new Admission(null, $"the registration of '{entry.Name}' expired at {end:u}"),
        var entry => new Admission(entry, null),
    };
}
