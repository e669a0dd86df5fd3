using System.Formats.Asn1;
using System.Net.Security;
using System.Security.Authentication;
using System.Security.Cryptography.X509Certificates;

namespace Sora.Federation.Identity;

/// <summary>
/// TLS settings under which each side shows a certificate of the federation's own authority, and of no other: what the machine trusts
/// otherwise counts for nothing.
/// </summary>
public static class MutualTls
{
    private const SslProtocols Protocols = SslProtocols.Tls12 | SslProtocols.Tls13;

    /// <summary>The coordinator's side.</summary>
    /// <param name="own">Its certificate with its private key.</param>
    /// <param name="authority">The federation's authority.</param>
    public static SslServerAuthenticationOptions Server(X509Certificate2 own, X509Certificate2 authority) => new()
    {
        ServerCertificateContext = SslStreamCertificateContext.Create(own, additionalCertificates: null, offline: true),
        ClientCertificateRequired = true,
        EnabledSslProtocols = Protocols,
        CertificateChainPolicy = Trust(authority),
    };

    /// <summary>A site's side.</summary>
    /// <param name="own">Its certificate with its private key.</param>
    /// <param name="authority">The federation's authority.</param>
    /// <param name="host">The name or address it dials, which the coordinator's certificate must bear.</param>
    public static SslClientAuthenticationOptions Client(X509Certificate2 own, X509Certificate2 authority, string host) => new()
    {
        ClientCertificateContext = SslStreamCertificateContext.Create(own, additionalCertificates: null, offline: true),
        TargetHost = host,
        EnabledSslProtocols = Protocols,
        CertificateChainPolicy = Trust(authority),
    };

    /// <summary>The site a certificate was issued to, once TLS has found it good; null for a coordinator's.</summary>
    public static string? SiteOf(X509Certificate2 certificate)
    {
        const string SubjectAlternativeName = "2.5.29.17";
        const string Prefix = "urn:sora:site:";
        var names = certificate.Extensions.FirstOrDefault(extension => extension.Oid?.Value == SubjectAlternativeName)?.RawData;
        if (names is null) return null;
        var reader = new AsnReader(names, AsnEncodingRules.DER).ReadSequence();
        var uri = new Asn1Tag(TagClass.ContextSpecific, 6);
        while (reader.HasData)
        {
            if (!reader.PeekTag().HasSameClassAndValue(uri)) reader.ReadEncodedValue();
            else if (reader.ReadCharacterString(UniversalTagNumber.IA5String, uri) is var text && text.StartsWith(Prefix, StringComparison.Ordinal)) return text[Prefix.Length..];
        }
        return null;
    }

    private static X509ChainPolicy Trust(X509Certificate2 authority) => new()
    {
        TrustMode = X509ChainTrustMode.CustomRootTrust,
        CustomTrustStore = { authority },
        // The federation publishes no list of revoked certificates; the admission list is where a site is revoked.
        RevocationMode = X509RevocationMode.NoCheck,
        DisableCertificateDownloads = true,
    };
}
