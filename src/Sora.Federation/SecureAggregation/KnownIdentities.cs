using System.Collections.Frozen;
using Sora.Federation.Identity;

namespace Sora.Federation.SecureAggregation;

/// <summary>Signs with a site's identity key.</summary>
public sealed class IdentityKeySigner(IdentityKey key) : IIdentitySigner
{
    /// <inheritdoc/>
    public byte[] Sign(ReadOnlySpan<byte> data) => key.Sign(data);
}

/// <summary>The identity keys of the sites by name, as a site or a coordinator got them when the sites were registered.</summary>
public sealed class KnownIdentities(IEnumerable<KeyValuePair<string, PublicKey>> keys) : IIdentityVerifier
{
    private readonly FrozenDictionary<string, PublicKey> _keys = keys.ToFrozenDictionary(StringComparer.Ordinal);

    /// <inheritdoc/>
    public bool Verify(string site, ReadOnlySpan<byte> data, ReadOnlySpan<byte> signature) =>
        _keys.TryGetValue(site, out var key) && key.Verify(data, signature);
}
