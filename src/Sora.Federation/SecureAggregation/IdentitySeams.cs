namespace Sora.Federation.SecureAggregation;

/// <summary>Signs with a site's long-lived identity key.</summary>
public interface IIdentitySigner
{
    /// <summary>A signature over <paramref name="data"/>.</summary>
    byte[] Sign(ReadOnlySpan<byte> data);
}

/// <summary>
/// Knows the identity keys of the sites. At a site it must be the site's own list: if the coordinator could add names to it, it
/// could be all the other sites itself.
/// </summary>
public interface IIdentityVerifier
{
    /// <summary>Whether <paramref name="signature"/> over <paramref name="data"/> is by <paramref name="site"/>; false for an unknown site.</summary>
    bool Verify(string site, ReadOnlySpan<byte> data, ReadOnlySpan<byte> signature);
}
