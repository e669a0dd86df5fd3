using Sora.Protocol.Jobs;

namespace Sora.Federation.Privacy;

/// <summary>
/// A privacy budget that fails closed. Releases are reserved, and on the disk, before a round starts; what is not settled afterwards stays
/// spent, also after a crash. What is spent is composed anew by the accountant over all entries, never added up epsilon by epsilon.
/// The file is a chain of hashes with a head beside it: edited, removed and cut-off lines are found and nothing more is granted.
/// (Who can rewrite the ledger and its head together is found only by comparing <see cref="Head"/> with a copy kept elsewhere, as in an audit log.)
/// Not for use by several threads at once.
/// </summary>
public sealed class BudgetLedger : IDisposable
{
    private readonly ILedgerStorage _storage;
    private readonly LedgerContents _contents;
    private readonly PrivacyAccountant _accountant;
    private readonly TimeProvider _clock;
    private bool _failed;

    private BudgetLedger(ILedgerStorage storage, LedgerContents contents, TimeProvider clock)
    {
        (_storage, _contents, _clock) = (storage, contents, clock);
        _accountant = PrivacyAccountant.Named(contents.Budget.Accountant);
        if (contents.IsTorn) Mend();
        WriteHead();
    }

    /// <summary>The budget.</summary>
    public PrivacyBudget Budget => _contents.Budget;

    /// <summary>The hash of the last entry, which stands for the whole ledger.</summary>
    public string Head => _contents.Hash;

    /// <summary>Epsilon of all that counts as spent.</summary>
    public double SpentEpsilon => _accountant.Epsilon(_contents.Spent, Budget.Delta);

    /// <summary>Begins a ledger where there is none.</summary>
    public static BudgetLedger Create(string path, PrivacyBudget budget, TimeProvider clock)
    {
        budget.Validated(); // before there is a file
        return Create(new LedgerFile(path, create: true), budget, clock);
    }

    /// <summary>Opens a ledger for writing. A budget that differs from the one in the file is refused.</summary>
    public static BudgetLedger Open(string path, PrivacyBudget budget, TimeProvider clock) => Open(new LedgerFile(path, create: false), budget, clock);

    /// <summary>What a ledger says now, also while somebody else writes it.</summary>
    public static LedgerReport Read(string path)
    {
        var (head, log) = LedgerFile.ReadOnly(path);
        return new LedgerReport(LedgerContents.Read(log, head, Path.GetFullPath(path)) ?? throw NeverFinished(path));
    }

    internal static BudgetLedger Create(ILedgerStorage storage, PrivacyBudget budget, TimeProvider clock) => OrDispose(storage, () =>
    {
        if (LedgerContents.Read(storage.ReadLog(), storage.ReadHead(), storage.Name) is not null)
            throw new SoraException($"There is a privacy ledger {storage.Name} already; open it.", ExitCode.InvalidInput);
        storage.Truncate(0); // a first line that a crash cut short
        var first = new LedgerEntry(0, LedgerEntry.Open, Scope: budget.Scope, Epsilon: budget.Epsilon, Delta: budget.Delta, Accountant: budget.Accountant, At: clock.GetUtcNow());
        storage.Append(first.Write(LedgerEntry.NoHash).Line);
        return new BudgetLedger(storage, LedgerContents.Read(storage.ReadLog(), default, storage.Name)!, clock);
    });

    internal static BudgetLedger Open(ILedgerStorage storage, PrivacyBudget budget, TimeProvider clock) => OrDispose(storage, () =>
    {
        var contents = LedgerContents.Read(storage.ReadLog(), storage.ReadHead(), storage.Name) ?? throw NeverFinished(storage.Name);
        if (contents.Budget != budget)
            throw new SoraException($"The privacy ledger {storage.Name} was begun with {contents.Budget}, not with {budget}. A budget is not changed in its ledger: put the old one back, or begin another ledger and enter there what is spent.", ExitCode.Usage);
        return new BudgetLedger(storage, contents, clock);
    });

    /// <summary>
    /// Reserves releases: when this returns they are on the disk as spent and the round may start.
    /// Throws <see cref="BudgetExhaustedException"/>, and writes nothing, when they would exceed the budget.
    /// </summary>
    /// <param name="purpose">What for, for example <c>round 12</c>.</param>
    /// <param name="releases">What will be released at most.</param>
    public BudgetReservation Reserve(string purpose, PrivacyEvent releases)
    {
        releases.Validated();
        var after = _accountant.Epsilon(_contents.Spent.Append(releases), Budget.Delta);
        if (!(after <= Budget.Epsilon))
            throw new BudgetExhaustedException($"{purpose}: epsilon would be {after:0.####}, above the {Budget.Epsilon} that {Budget.Scope} allows (delta {Budget.Delta}, ledger {_storage.Name}). It is {SpentEpsilon:0.####} now; the round must not start.");
        var id = _contents.Count;
        Write(new LedgerEntry(id, LedgerEntry.Reserve, releases.NoiseMultiplier, releases.SampleRate, releases.Count, Purpose: purpose, At: _clock.GetUtcNow()));
        return new BudgetReservation(id, releases);
    }

    /// <summary>Reserves in several ledgers (the job's and the site's): all or none. A crash between leaves too much spent, never too little.</summary>
    public static IReadOnlyList<BudgetReservation> ReserveAll(IReadOnlyList<BudgetLedger> ledgers, string purpose, PrivacyEvent releases)
    {
        var reserved = new List<BudgetReservation>();
        try
        {
            foreach (var ledger in ledgers) reserved.Add(ledger.Reserve(purpose, releases));
            return reserved;
        }
        catch (BudgetExhaustedException)
        {
            for (var i = 0; i < reserved.Count; i++) ledgers[i].Settle(reserved[i].Id, 0);
            throw;
        }
    }

    /// <summary>The reservation that was made last for a purpose; null: none was. Whoever asks first reserves nothing twice.</summary>
    public KnownReservation? Find(string purpose) => _contents.Reservations.LastOrDefault(entry => entry.Kind == LedgerEntry.Reserve && entry.Purpose == purpose) is { } entry
        ? new KnownReservation(entry.Number, IsOpen: _contents.Reservation(entry.Number) is not null)
        : null;

    /// <summary>Says how many of the reserved releases really happened. Only what certainly did not leave may be given back.</summary>
    /// <param name="reservation">Its number.</param>
    /// <param name="used">Releases that happened, at most those reserved.</param>
    public void Settle(long reservation, long used)
    {
        var entry = _contents.Reservation(reservation) ?? throw new SoraException($"Reservation {reservation} is not open in the privacy ledger {_storage.Name}.", ExitCode.InvalidInput);
        if (used < 0 || used > entry.Count) throw new SoraException($"Reservation {reservation} was for {entry.Count} releases; {used} cannot have happened.", ExitCode.InvalidInput);
        Write(new LedgerEntry(_contents.Count, LedgerEntry.Settle, Count: used, Settles: reservation, At: _clock.GetUtcNow()));
    }

    /// <summary>How many more such releases the budget allows, one by one, up to <paramref name="most"/>.</summary>
    public long Forecast(PrivacyEvent release, long most = LedgerReport.MostForecast) => new LedgerReport(_contents).Forecast(release, most);

    /// <inheritdoc/>
    public void Dispose() => _storage.Dispose();

    private static BudgetLedger OrDispose(ILedgerStorage storage, Func<BudgetLedger> open)
    {
        try
        {
            return open();
        }
        catch
        {
            storage.Dispose();
            throw;
        }
    }

    private void Mend()
    {
        var torn = _contents.TornEvent;
        _storage.Truncate(_contents.ValidBytes);
        _contents.Mend();
        Write(new LedgerEntry(_contents.Count, LedgerEntry.Torn, torn?.NoiseMultiplier, torn?.SampleRate, torn?.Count, At: _clock.GetUtcNow()));
    }

    private void Write(LedgerEntry entry)
    {
        if (_failed) throw new SoraException($"The privacy ledger {_storage.Name} could not be written before. Nothing more is granted until it is opened anew.");
        _failed = true; // whatever interrupts this leaves the file in doubt
        var (line, hash) = entry.Write(_contents.Hash);
        _storage.Append(line);
        _contents.Take(entry, hash, line.Length, _storage.Name);
        WriteHead();
        _failed = false;
    }

    private void WriteHead() => _storage.ReplaceHead(LedgerContents.WriteHead(_contents.Count, _contents.Hash));

    private static SoraException NeverFinished(string name) =>
        new($"The privacy ledger {name} was never finished: not even its first line is whole, so nothing was granted on it. Create it again.", ExitCode.InvalidInput);
}
