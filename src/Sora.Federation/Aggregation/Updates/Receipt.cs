namespace Sora.Federation.Aggregation.Updates;

/// <summary>What became of something a site sent.</summary>
public enum ReceiptKind
{
    /// <summary>Taken; more chunks are missing.</summary>
    Accepted,

    /// <summary>The update is whole, valid, and takes part in the round.</summary>
    Whole,

    /// <summary>Refused, with a reason; nothing of it counts.</summary>
    Refused,
}

/// <summary>The answer to an announcement or a chunk.</summary>
/// <param name="Kind">What became of it.</param>
/// <param name="Reason">Why it was refused, for the site's log and the audit log; null otherwise.</param>
public sealed record Receipt(ReceiptKind Kind, string? Reason = null)
{
    /// <summary>Taken; more is missing.</summary>
    public static Receipt Accepted { get; } = new(ReceiptKind.Accepted);

    /// <summary>The update is whole.</summary>
    public static Receipt Whole { get; } = new(ReceiptKind.Whole);

    /// <summary>Refused because of <paramref name="reason"/>.</summary>
    public static Receipt Refused(string reason) => new(ReceiptKind.Refused, reason);
}

/// <summary>A site whose update does not take part in a round.</summary>
/// <param name="Site">The site.</param>
/// <param name="Reason">Why, in words for the audit log.</param>
public sealed record Rejected(string Site, string Reason);
