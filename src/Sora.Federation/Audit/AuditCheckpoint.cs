using Sora.Federation.Identity;

namespace Sora.Federation.Audit;

/// <summary>Signatures over the head of a log.</summary>
internal static class AuditCheckpoint
{
    /// <summary>Signs what stands before an entry.</summary>
    /// <param name="key">The key.</param>
    /// <param name="sequence">Number of the entry that the checkpoint will be.</param>
    /// <param name="head">Hash of the entry before it.</param>
    public static LogCheckpoint Sign(IdentityKey key, long sequence, string head) =>
        new(head, key.Public.Fingerprint, Convert.ToBase64String(key.Sign(TranscriptOf(sequence, head))));

    /// <summary>Whether the key signed the checkpoint.</summary>
    public static bool IsSigned(PublicKey key, long sequence, LogCheckpoint checkpoint)
    {
        var signature = new byte[IdentityKey.SignatureLength];
        return checkpoint.Key == key.Fingerprint
            && Convert.TryFromBase64String(checkpoint.Signature, signature, out var length)
            && key.Verify(TranscriptOf(sequence, checkpoint.Head), signature.AsSpan(0, length));
    }

    private static byte[] TranscriptOf(long sequence, string head) => new Transcript("audit-checkpoint").Add(sequence).Add(head).ToArray();
}
