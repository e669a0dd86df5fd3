using System.Collections.Concurrent;
using System.Collections.Immutable;
using Sora.Federation.Aggregation;
using Sora.Federation.Aggregation.Updates;
using Sora.Federation.Audit;
using Sora.Federation.Rounds;
using Sora.Protocol.Jobs;
using RoundClosed = Sora.Federation.Audit.RoundClosed;

namespace Sora.Coordinator.Federations;

/// <summary>What has arrived of an update that a site offers.</summary>
/// <param name="Whole">All of it.</param>
/// <param name="NextChunk">Otherwise the first chunk that is missing.</param>
internal sealed record Arrived(bool Whole, int NextChunk);

/// <summary>An update on its way in.</summary>
internal sealed record Arrival(UpdateManifest Manifest, UpdateOffer Offer, RoundInbox Inbox);

/// <summary>What became of what a site sent.</summary>
/// <param name="Stored">The update is whole, and stored.</param>
/// <param name="Refusal">Why it was not taken; null: it was.</param>
/// <param name="Final">It never will be.</param>
internal sealed record Reception(bool Stored, string? Refusal = null, bool Final = false);

/// <summary>
/// The numbers and the records of a federated run, in the folder <c>federation</c> of its output: arriving updates, models, the audit log, the
/// privacy ledger. Everything here waits for disks, so actors call it from beside themselves and hear later. All that counts is
/// on the disk: another process goes on with it.
/// </summary>
internal sealed class FederationStore
{
    private readonly SemaphoreSlim _gate = new(1, 1);
    private readonly Dictionary<string, UpdateOffer> _expected = new(StringComparer.Ordinal);
    private readonly ConcurrentDictionary<int, string> _released = new();
    private readonly FederatedRun _run;
    private readonly string _folder;
    private readonly CoordinatorIdentity _identity;
    private readonly TimeProvider _time;
    private readonly ModelFiles _models;
    private readonly BudgetKeeper _budget;
    private RoundInbox? _inbox;
    private AuditLog? _audit;
    private bool _closed;

    public FederationStore(FederatedRun run, string outputDir, CoordinatorIdentity identity, TimeProvider time)
    {
        (_run, _identity, _time) = (run, identity, time);
        _folder = Path.Combine(outputDir, "federation");
        _models = new ModelFiles(_folder, run.Chunks.Parameters);
        _budget = new BudgetKeeper(run, Path.Combine(_folder, "budget.ledger"), time);
    }

    /// <summary>What keeps a new run from being begun; null: nothing.</summary>
    public Task<string?> CheckInitialAsync() => ExclusivelyAsync(() => _models.Objection(_run.Initial));

    /// <summary>A model is committed: sites may have it.</summary>
    public void Release(ModelVersion model) => _released[model.Number] = model.Sha256;

    /// <summary>A model that sites may have; null: there is none of that number and hash.</summary>
    public FileStream? OpenModel(int number, string sha256) => _released.TryGetValue(number, out var released) && released == sha256
        ? new FileStream(_models.PathOf(number), new FileStreamOptions { Options = FileOptions.Asynchronous | FileOptions.SequentialScan })
        : null;

    /// <summary>Records something before it is done.</summary>
    /// <exception cref="SoraException">It cannot be recorded.</exception>
    public Task RecordAsync(AuditEvent happened) => ExclusivelyAsync(async () => (await AuditAsync()).Append(happened));

    /// <summary>Lets a site send an update for the attempt that is open; null: a later one is by now.</summary>
    public Task<Arrived?> ExpectAsync(RoundKey open, ModelVersion model, IReadOnlySet<string> sites, UpdateOffer offer) => ExclusivelyAsync(() =>
    {
        // What is done beside the actor may overtake one another.
        if (_inbox is { } current && open < current.Key)
            return null;
        var inbox = InboxOf(open, model, sites);
        _expected[offer.Id.Site] = offer;
        return inbox.Round.HashOf(offer.Id.Site) == offer.Id.Sha256
            ? new Arrived(Whole: true, 0)
            : new Arrived(Whole: false, inbox.Round.Missing(offer.Id.Site) is [var missing, ..] ? missing.First : 0);
    });

    /// <summary>A site begins to send: is it what it offered?</summary>
    public Task<(Arrival? Arrival, Reception Reception)> BeginAsync(string site, UpdateManifest manifest) => ExclusivelyAsync<(Arrival?, Reception)>(async () =>
    {
        if (_inbox is not { } inbox || !_expected.TryGetValue(site, out var offer) || manifest.Site != site || manifest.Round != offer.Id.Round.Round
            || Convert.ToHexStringLower(manifest.Hash.Span) != offer.Id.Sha256 || manifest.Bytes != offer.Bytes || manifest.Weight != offer.Weight)
            return (null, new Reception(false, "This update was not asked for. Offer it first."));
        var arrival = new Arrival(manifest, offer, inbox);
        var receipt = inbox.Round.Announce(manifest);
        if (receipt.Kind == ReceiptKind.Refused && inbox.Round.Missing(site).Count > 0)
        {
            // A part of another one: the site has changed its mind, as a restarted process may.
            inbox.Round.Withdraw(site);
            receipt = inbox.Round.Announce(manifest);
        }
        return (arrival, await ReceivedAsync(arrival, receipt, refusalIsFinal: true));
    });

    /// <summary>Takes a chunk.</summary>
    public Task<Reception> AcceptAsync(Arrival arrival, int chunk, ReadOnlyMemory<byte> content) => ExclusivelyAsync(async () =>
    {
        if (!ReferenceEquals(_inbox, arrival.Inbox))
            return new Reception(false, "The round has gone on without this update.");
        var (manifest, round) = (arrival.Manifest, arrival.Inbox.Round);
        if (chunk < 0 || chunk >= manifest.Chunks)
            return new Reception(false, $"There is no chunk {chunk} in an update of {manifest.Chunks}.");
        var receipt = round.Accept(manifest.Site, manifest.Round, chunk, manifest.ChunkOffset(chunk), content.Span);
        return await ReceivedAsync(arrival, receipt, round.Refused.Any(refused => refused.Site == manifest.Site));
    });

    /// <summary>An accepted update is journaled: its bytes may become part of the sum.</summary>
    public Task AdmitAsync(RoundKey open, string site) => ExclusivelyAsync(() =>
    {
        if (_inbox?.Key == open)
            _inbox.Round.Admit(site);
        return true;
    });

    /// <summary>Makes the next model of exactly these updates, and stores it.</summary>
    /// <returns><see cref="RoundAggregated"/> or <see cref="AggregationFailed"/>.</returns>
    public Task<RoundEvent> AggregateAsync(AggregateRound round, int target, IReadOnlySet<string> sites) => ExclusivelyAsync<RoundEvent>(async () =>
    {
        var log = await AuditAsync();
        try
        {
            var inbox = InboxOf(round.Round, round.Base, sites);
            var outcome = inbox.Finish(round.Updates, target);
            var model = _models.Write(round.Base.Number + 1, outcome.Model);
            var counted = round.Updates.Select(update => update.Id.Site).ToHashSet(StringComparer.Ordinal);
            var outliers = outcome.Rejected.Where(site => counted.Contains(site.Site)).ToImmutableSortedDictionary(site => site.Site, site => site.Reason, StringComparer.Ordinal);
            foreach (var (site, reason) in outliers)
                log.Append(new Sora.Federation.Audit.UpdateRejected(_run.Run, round.Round.Round, site, reason));
            log.Append(new RoundClosed(_run.Run, round.Round.Round, [.. round.Updates.Select(update => update.Id.Site).Where(site => !outliers.ContainsKey(site))], model.Sha256));
            return new RoundAggregated(round.Round, model.Sha256, outliers);
        }
        catch (Exception e) when (e is SoraException or IOException or UnauthorizedAccessException)
        {
            Forget(round.Round);
            return new AggregationFailed(round.Round, e.Message);
        }
    });

    /// <summary>The updates of an attempt are not needed any more.</summary>
    public Task DiscardAsync(RoundKey key) => ExclusivelyAsync(() =>
    {
        Forget(key);
        return true;
    });

    /// <summary>Holds the cost of an attempt back.</summary>
    /// <returns><see cref="BudgetReserved"/> or <see cref="BudgetRefused"/>: whatever is in the way, nothing is spent that was not granted.</returns>
    public Task<RoundEvent> ReserveAsync(RoundKey key) => ExclusivelyAsync<RoundEvent>(async () =>
    {
        // Whoever has the log has the ledger: where another process still holds them this is tried again, not refused.
        var log = await AuditAsync();
        try
        {
            var (epsilon, delta) = _budget.Reserve(key);
            log.Append(new PrivacySpent(_run.Run, key.Round, epsilon, delta));
            return new BudgetReserved(key, epsilon);
        }
        catch (Exception e) when (e is SoraException or IOException or UnauthorizedAccessException)
        {
            return new BudgetRefused(key, e.Message);
        }
    });

    /// <summary>Writes down what became of a reservation.</summary>
    public Task<RoundEvent> SettleAsync(SettleBudget settle) => ExclusivelyAsync<RoundEvent>(async () =>
    {
        await AuditAsync();
        try
        {
            _budget.Settle(settle.Round, settle.Spent);
        }
        catch (SoraException)
        {
            // A ledger that is damaged takes nothing any more and grants nothing. What it has reserved stays spent, which can only be too much.
        }
        return new BudgetSettled(settle.Round);
    });

    /// <summary>Lets go of the files once what is under way is done.</summary>
    public Task CloseAsync() => ExclusivelyAsync(() =>
    {
        _closed = true;
        _budget.Dispose();
        _audit?.Dispose();
        return true;
    });

    private async Task<Reception> ReceivedAsync(Arrival arrival, Receipt receipt, bool refusalIsFinal)
    {
        if (receipt.Kind == ReceiptKind.Accepted)
            return new Reception(false);
        var (site, round) = (arrival.Manifest.Site, arrival.Offer.Id.Round.Round);
        AuditEvent happened = receipt.Kind == ReceiptKind.Whole
            ? new MessageReceived(_run.Run, round, site, Sora.Federation.Policies.SiteMessages.Update, arrival.Manifest.Bytes, arrival.Offer.Id.Sha256)
            : new Sora.Federation.Audit.UpdateRejected(_run.Run, round, site, receipt.Reason!);
        (await AuditAsync()).Append(happened);
        return receipt.Kind == ReceiptKind.Whole ? new Reception(true) : new Reception(false, receipt.Reason, refusalIsFinal);
    }

    private RoundInbox InboxOf(RoundKey key, ModelVersion model, IReadOnlySet<string> sites)
    {
        if (_inbox?.Key == key)
            return _inbox;
        _expected.Clear();
        var rounds = Path.Combine(_folder, "rounds");
        var folder = Path.Combine(rounds, FolderOf(key));
        // What an earlier attempt left behind when its process was killed.
        if (Directory.Exists(rounds))
        {
            foreach (var older in Directory.EnumerateDirectories(rounds).Where(other => Path.GetFileName(other) != FolderOf(key)))
                Directory.Delete(older, recursive: true);
        }
        return _inbox = RoundInbox.Open(key, _run.Settings, _models, model, sites, folder);
    }

    private void Forget(RoundKey key)
    {
        if (_inbox?.Key == key)
            _inbox = null;
        var folder = Path.Combine(_folder, "rounds", FolderOf(key));
        if (Directory.Exists(folder))
            Directory.Delete(folder, recursive: true);
    }

    private static string FolderOf(RoundKey key) => $"{key.Round}-{key.Attempt}";

    private async Task<AuditLog> AuditAsync()
    {
        // The one before in this folder may not have let go of it yet.
        for (var tries = 0; _audit is null; tries++)
        {
            try
            {
                _audit = AuditLog.Open(Path.Combine(_folder, "audit.jsonl"), "coordinator", _time, _identity.Key);
            }
            catch (SoraException e) when (e.InnerException is IOException && tries < 50)
            {
                await Task.Delay(TimeSpan.FromMilliseconds(100), _time);
            }
        }
        return _audit;
    }

    private Task<T> ExclusivelyAsync<T>(Func<T> work) => ExclusivelyAsync(() => Task.FromResult(work()));

    // Never on the caller's thread: that may be an actor's.
    private Task<T> ExclusivelyAsync<T>(Func<Task<T>> work) => Task.Run(async () =>
    {
        await _gate.WaitAsync();
        try
        {
            ObjectDisposedException.ThrowIf(_closed, this);
            return await work();
        }
        finally
        {
            _gate.Release();
        }
    });
}
