using System.Text;
using Sora.Protocol.Jobs;

namespace Sora.Federation.Privacy;

/// <summary>
/// What a ledger's bytes say: a pure function of them and of the head (the number and hash of the last entry known to be on disk), which
/// tells a file that was cut off from one that ends there.
/// </summary>
internal sealed class LedgerContents
{
    private readonly List<LedgerEntry> _entries = [];
    private readonly Dictionary<long, long> _used = []; // reservation -> releases that happened

    private LedgerContents(PrivacyBudget budget) => Budget = budget;

    public PrivacyBudget Budget { get; }

    public string Hash { get; private set; } = LedgerEntry.NoHash;

    public long Count => _entries.Count;

    /// <summary>Bytes of whole, valid lines.</summary>
    public long ValidBytes { get; private set; }

    /// <summary>What a line that a crash cut short may have been about to spend; null when there is none or it was no reservation.</summary>
    public PrivacyEvent? TornEvent { get; private set; }

    public bool IsTorn { get; private set; }

    public IEnumerable<LedgerEntry> Reservations => _entries.Where(entry => entry.Event is not null);

    public long Unsettled => _entries.LongCount(entry => entry.Kind == LedgerEntry.Reserve && !_used.ContainsKey(entry.Number));

    /// <summary>All releases that count as spent: whole reservations, but for those that were settled with less.</summary>
    public IEnumerable<PrivacyEvent> Spent => Reservations
        .Select(entry => entry.Event! with { Count = _used.GetValueOrDefault(entry.Number, entry.Count!.Value) })
        .Concat(TornEvent is { } torn ? [torn] : [])
        .Where(spent => spent.Count > 0);

    /// <summary>Reads a ledger; null when not even its first line was ever finished.</summary>
    /// <param name="bytes">The file.</param>
    /// <param name="head">The head as written, or null when there is none.</param>
    /// <param name="name">The file's name, for errors.</param>
    public static LedgerContents? Read(ReadOnlySpan<byte> bytes, ReadOnlySpan<byte> head, string name)
    {
        var (known, knownHash) = ReadHead(head, name);
        LedgerContents? contents = null;
        while (bytes.IndexOf((byte)'\n') is var end && end >= 0)
        {
            var read = LedgerEntry.Read(bytes[..end], contents?.Hash ?? LedgerEntry.NoHash)
                ?? throw Damaged(name, $"line {(contents?.Count ?? 0) + 1} is not the line that was written there");
            contents ??= new LedgerContents(BudgetOf(read.Entry, name));
            contents.Take(read.Entry, read.Hash, end + 1, name);
            if (contents.Count == known && read.Hash != knownHash) throw Damaged(name, $"line {known} is another one than its head names");
            bytes = bytes[(end + 1)..];
        }
        if ((contents?.Count ?? 0) < known) throw Damaged(name, $"it ends after line {contents?.Count ?? 0}, but {known} were written");
        if (contents is null) return null;
        if (known == 0 && contents.Count > 1) throw Damaged(name, "its head file is missing");
        if (!bytes.IsEmpty) contents.Tear(bytes);
        return contents;
    }

    /// <summary>The head's bytes for these contents.</summary>
    public static byte[] WriteHead(long count, string hash) => Encoding.ASCII.GetBytes($"{count} {hash}\n");

    /// <summary>Adds an entry, after checking that it makes sense here.</summary>
    public void Take(LedgerEntry entry, string hash, long bytes, string name)
    {
        if (entry.Number != Count) throw Damaged(name, $"line {Count + 1} has the number {entry.Number}");
        if (entry.Kind is LedgerEntry.Reserve or LedgerEntry.Torn)
        {
            // A torn line that was no reservation has nothing to count.
            if (entry.Event is { } one) one.Validated();
            else if (entry.Kind == LedgerEntry.Reserve) throw Damaged(name, $"line {Count + 1} does not say what it reserves");
        }
        if (entry.Kind == LedgerEntry.Settle)
        {
            var reserved = entry.Settles is { } id && id >= 0 && id < Count ? _entries[(int)id] : null;
            if (reserved?.Kind != LedgerEntry.Reserve || entry.Count is not { } used || used < 0 || used > reserved.Count || !_used.TryAdd(reserved.Number, used))
                throw Damaged(name, $"line {Count + 1} settles what is not open");
        }
        _entries.Add(entry);
        (Hash, ValidBytes) = (hash, ValidBytes + bytes);
    }

    public LedgerEntry? Reservation(long id) => id >= 0 && id < Count && _entries[(int)id].Kind == LedgerEntry.Reserve && !_used.ContainsKey(id) ? _entries[(int)id] : null;

    public void Mend() => (IsTorn, TornEvent) = (false, null);

    // Nothing was started on the strength of a line that never reached the disk whole, so whatever is counted for it is on top.
    private void Tear(ReadOnlySpan<byte> line)
    {
        IsTorn = true;
        var torn = LedgerEntry.ReadTorn(line);
        if (torn.Kind is LedgerEntry.Settle) return;
        TornEvent = torn.Event ?? Reservations.LastOrDefault()?.Event;
    }

    private static PrivacyBudget BudgetOf(LedgerEntry first, string name) =>
        first is { Kind: LedgerEntry.Open, Scope: { } scope, Epsilon: { } epsilon, Delta: { } delta, Accountant: { } accountant }
            ? new PrivacyBudget(scope, epsilon, delta, accountant).Validated()
            : throw Damaged(name, "its first line names no budget");

    private static (long Count, string Hash) ReadHead(ReadOnlySpan<byte> head, string name)
    {
        if (head.IsEmpty) return (0, LedgerEntry.NoHash);
        var words = Encoding.ASCII.GetString(head).TrimEnd('\n').Split(' ');
        return words.Length == 2 && long.TryParse(words[0], out var count) && count > 0 ? (count, words[1]) : throw Damaged(name, "its head file is not readable");
    }

    private static SoraException Damaged(string name, string what) => new(
        $"The privacy ledger {name} is damaged: {what}. Nothing more is granted on it. Restore the ledger and its .head file together from the newest backup; spending since then must be entered as spent.",
        ExitCode.InvalidInput);
}
