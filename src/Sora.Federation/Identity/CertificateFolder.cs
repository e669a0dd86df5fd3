using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using Sora.Protocol.Jobs;

namespace Sora.Federation.Identity;

/// <summary>A certificate that was written.</summary>
/// <param name="Name">The authority, the coordinator or a site.</param>
/// <param name="Certificate">Its file.</param>
/// <param name="Key">Its private key's file.</param>
/// <param name="Until">When it ends.</param>
public sealed record WrittenCertificate(string Name, string Certificate, string Key, DateTimeOffset Until);

/// <summary>
/// All certificates of a federation in one folder: <c>ca</c>, <c>coordinator</c> and one for each site, each a <c>.pem</c> and a <c>.key</c>.
/// Asked again with further sites, it makes only theirs, by the same authority.
/// </summary>
public static class CertificateFolder
{
    /// <summary>The authority's name in the folder.</summary>
    public const string Authority = "ca";

    /// <summary>The coordinator's name in the folder.</summary>
    public const string Coordinator = "coordinator";

    /// <summary>Makes what is missing. Nothing is overwritten.</summary>
    /// <returns>What was made.</returns>
    /// <exception cref="SoraException">A site's name is no name or has a certificate already, or the folder cannot be read or written.</exception>
    public static IReadOnlyList<WrittenCertificate> Write(string folder, IReadOnlyList<string> hosts, IReadOnlyList<string> sites, DateTimeOffset now, TimeSpan lifetime)
    {
        foreach (var site in sites)
        {
            KeyFiles.RequireName(site);
            if (site is Authority or Coordinator) throw new SoraException($"A site cannot be called '{site}' here: that is what the federation's own certificate is called.", ExitCode.Usage);
            if (File.Exists(PathOf(folder, site, ".pem"))) throw new SoraException($"{PathOf(folder, site, ".pem")} is there already, and nothing is overwritten. Remove it and its .key to make a new one.", ExitCode.Usage);
        }
        foreach (var host in hosts)
            if (Uri.CheckHostName(host) == UriHostNameType.Unknown) throw new SoraException($"'{host}' is no host name or address.", ExitCode.Usage);

        var until = now + lifetime;
        var written = new List<WrittenCertificate>();
        using var authority = OpenAuthority(folder, now) ?? Added(CertificateAuthority.Create("SoraCluster federation", now, until));
        if (!File.Exists(PathOf(folder, Coordinator, ".pem"))) Add(Coordinator, authority.IssueServer(hosts, now, until));
        else if (hosts.Count > 0) throw new SoraException($"{PathOf(folder, Coordinator, ".pem")} is there already, so --host would change nothing. Remove it and its .key to make a new one.", ExitCode.Usage);
        foreach (var site in sites) Add(site, authority.IssueClient(site, now, until));
        return written;

        CertificateAuthority Added(CertificateAuthority made)
        {
            Save(Authority, made.Certificate);
            return made;
        }

        void Add(string name, X509Certificate2 made)
        {
            using (made) Save(name, made);
        }

        void Save(string name, X509Certificate2 certificate)
        {
            using var key = certificate.GetECDsaPrivateKey()!;
            // The certificate last: where it is, the key is.
            KeyFiles.WritePrivate(PathOf(folder, name, ".key"), key.ExportPkcs8PrivateKeyPem() + "\n");
            KeyFiles.WriteNew(PathOf(folder, name, ".pem"), certificate.ExportCertificatePem() + "\n", mode: null);
            written.Add(new WrittenCertificate(name, PathOf(folder, name, ".pem"), PathOf(folder, name, ".key"), new DateTimeOffset(certificate.NotAfter.ToUniversalTime(), TimeSpan.Zero)));
        }
    }

    private static CertificateAuthority? OpenAuthority(string folder, DateTimeOffset now)
    {
        var path = PathOf(folder, Authority, ".pem");
        if (!File.Exists(path)) return null;
        try
        {
            var authority = CertificateAuthority.FromPem(File.ReadAllText(path), File.ReadAllText(PathOf(folder, Authority, ".key")));
            if (authority.Certificate.NotAfter > now) return authority;
            authority.Dispose();
            throw new SoraException($"The authority in {folder} has ended. Make all certificates anew in another folder.", ExitCode.Usage);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or CryptographicException)
        {
            throw new SoraException($"The authority in {folder} cannot be used: {e.Message}", ExitCode.InvalidInput, e);
        }
    }

    private static string PathOf(string folder, string name, string extension) => Path.Combine(folder, name + extension);
}
