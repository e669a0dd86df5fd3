using System.Net;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;

namespace Sora.Federation.Identity;

/// <summary>
/// A small certificate authority of one federation, for those who have none: its certificates are good for mutual TLS between one coordinator
/// and its sites, and for nothing else.
/// </summary>
/// <param name="certificate">The authority's certificate with its private key.</param>
public sealed class CertificateAuthority(X509Certificate2 certificate) : IDisposable
{
    private const string ServerAuthentication = "1.3.6.1.5.5.7.3.1";
    private const string ClientAuthentication = "1.3.6.1.5.5.7.3.2";

    // Clocks of different machines differ by minutes; a certificate that is not yet valid puzzles everybody.
    private static readonly TimeSpan ClockSkew = TimeSpan.FromMinutes(10);

    /// <summary>The authority's certificate.</summary>
    public X509Certificate2 Certificate => certificate;

    /// <summary>Makes a new authority.</summary>
    /// <param name="name">Its name, for people.</param>
    /// <param name="from">When its certificate begins to be valid.</param>
    /// <param name="until">When it ends.</param>
    public static CertificateAuthority Create(string name, DateTimeOffset from, DateTimeOffset until)
    {
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var request = new CertificateRequest(NameOf(name), key, HashAlgorithmName.SHA256);
        // No authority below it: what it signs is an end.
        request.CertificateExtensions.Add(new X509BasicConstraintsExtension(certificateAuthority: true, hasPathLengthConstraint: true, pathLengthConstraint: 0, critical: true));
        request.CertificateExtensions.Add(new X509KeyUsageExtension(X509KeyUsageFlags.KeyCertSign | X509KeyUsageFlags.CrlSign, critical: true));
        request.CertificateExtensions.Add(new X509SubjectKeyIdentifierExtension(request.PublicKey, critical: false));
        using var made = request.CreateSelfSigned(from - ClockSkew, until);
        return new CertificateAuthority(Portable(made));
    }

    /// <summary>Reads an authority.</summary>
    public static CertificateAuthority FromPem(string certificatePem, string keyPem)
    {
        using var read = X509Certificate2.CreateFromPem(certificatePem, keyPem);
        return new CertificateAuthority(Portable(read));
    }

    /// <summary>A certificate for the coordinator.</summary>
    /// <param name="hosts">Names and addresses that sites dial; loopback is always among them.</param>
    /// <param name="from">When it begins to be valid.</param>
    /// <param name="until">When it ends.</param>
    public X509Certificate2 IssueServer(IReadOnlyList<string> hosts, DateTimeOffset from, DateTimeOffset until)
    {
        var names = new SubjectAlternativeNameBuilder();
        foreach (var host in hosts.Concat(["localhost", "127.0.0.1", "::1"]).Distinct())
        {
            if (IPAddress.TryParse(host, out var address)) names.AddIpAddress(address);
            else names.AddDnsName(host);
        }
        return Issue(hosts.Count > 0 ? hosts[0] : "coordinator", ServerAuthentication, names.Build(), from, until);
    }

    /// <summary>A certificate for a site, which can only be a client with it.</summary>
    /// <param name="site">The site's name.</param>
    /// <param name="from">When it begins to be valid.</param>
    /// <param name="until">When it ends.</param>
    public X509Certificate2 IssueClient(string site, DateTimeOffset from, DateTimeOffset until)
    {
        var names = new SubjectAlternativeNameBuilder();
        names.AddUri(new Uri($"urn:sora:site:{site}"));
        return Issue(site, ClientAuthentication, names.Build(), from, until);
    }

    /// <inheritdoc/>
    public void Dispose() => certificate.Dispose();

    private X509Certificate2 Issue(string name, string usage, X509Extension alternativeNames, DateTimeOffset from, DateTimeOffset until)
    {
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var request = new CertificateRequest(NameOf(name), key, HashAlgorithmName.SHA256);
        request.CertificateExtensions.Add(new X509BasicConstraintsExtension(false, false, 0, critical: true));
        request.CertificateExtensions.Add(new X509KeyUsageExtension(X509KeyUsageFlags.DigitalSignature, critical: true));
        request.CertificateExtensions.Add(new X509EnhancedKeyUsageExtension([new Oid(usage)], critical: true));
        request.CertificateExtensions.Add(alternativeNames);
        request.CertificateExtensions.Add(new X509SubjectKeyIdentifierExtension(request.PublicKey, critical: false));
        request.CertificateExtensions.Add(X509AuthorityKeyIdentifierExtension.CreateFromCertificate(certificate, includeKeyIdentifier: true, includeIssuerAndSerial: false));
        var begin = from - ClockSkew;
        var serial = RandomNumberGenerator.GetBytes(16);
        serial[0] = (byte)((serial[0] & 0x7F) | 0x40); // positive, and always 16 bytes
        using var signed = request.Create(certificate, begin < certificate.NotBefore ? certificate.NotBefore : begin, until > certificate.NotAfter ? certificate.NotAfter : until, serial);
        using var whole = signed.CopyWithPrivateKey(key);
        return Portable(whole);
    }

    private static X500DistinguishedName NameOf(string name)
    {
        var builder = new X500DistinguishedNameBuilder();
        builder.AddCommonName(name);
        return builder.Build();
    }

    // Windows does TLS only with keys that it has loaded itself.
    private static X509Certificate2 Portable(X509Certificate2 made) =>
        X509CertificateLoader.LoadPkcs12(made.Export(X509ContentType.Pkcs12), password: null, X509KeyStorageFlags.Exportable);
}
