using System.Globalization;
using System.Runtime.CompilerServices;
using Sora.Federation.Rounds;
using Sora.Protocol.Jobs;

namespace Sora.Federation.Tests.Rounds.Simulation;

/// <summary>What must be so after every event. It believes nobody: it looks at what was written, said and stored.</summary>
internal sealed class Invariants(Simulation world)
{
    private readonly Dictionary<int, ModelVersion> _models = new() { [0] = world.Schedule.Run.Initial };
    private readonly Dictionary<(string Site, RoundKey Round), string> _accepted = [];
    private readonly Dictionary<(string Site, RoundKey Round), string> _offered = [];
    private readonly SortedDictionary<string, AcceptedUpdate> _inHand = new(StringComparer.Ordinal);
    private readonly SortedSet<RoundKey> _opened = [];
    private readonly SortedSet<RoundKey> _granted = [];
    private readonly SortedSet<RoundKey> _announced = [];
    private readonly SortedSet<string> _barred = new(StringComparer.Ordinal);
    private readonly Dictionary<string, RoundKey> _taken = [];
    private RoundCoordinatorState _replayed = RoundCoordinatorState.Empty;
    private RoundOpened? _open;
    private RoundClosed? _closed;
    private int _openedInLife;
    private bool _stopped;
    private bool _ended;

    private FederationSettings Settings => world.Schedule.Run.Settings;

    private ModelVersion Newest => _models[_models.Count - 1];

    private bool Asynchronous => Settings.Mode == FederationMode.Asynchronous;

    private bool Private => Settings.DifferentialPrivacy is not null;

    public void Journaled(RoundDecision decision)
    {
        Must(!_ended, $"the run is over and the coordinator decides {decision}");
        switch (decision)
        {
            case RoundOpened opened: Opened(opened); break;
            case BudgetGranted granted:
                Must(world.Ledger.Covers(granted.Round), $"{granted.Round} is granted, and the ledger holds nothing back for it");
                _granted.Add(granted.Round);
                // Nobody had been told of it before.
                _openedInLife = world.Coordinator.Life;
                break;
            case UpdateAccepted accepted: Accepted(accepted.Update); break;
            case RoundClosed closed: Closed(closed); break;
            case RoundAbandoned abandoned:
                Must(_open?.Round == abandoned.Round, $"{abandoned.Round} is given up and was not in hand");
                (_open, _closed) = (null, null);
                break;
            case ModelCommitted committed: Committed(committed); break;
            case BudgetClosed settled:
                Must(world.Ledger.Entries[settled.Round] != Entry.Held, $"{settled.Round} is written down as settled, and the ledger still holds it");
                break;
            case EvaluationClosed evaluated: Must(evaluated.Version == Newest.Number, $"an evaluation of model {evaluated.Version} closes, and the newest is {Newest.Number}"); break;
            case SiteBarred barred:
                _barred.Add(barred.Site);
                // Let in again it may offer it again.
                if (_closed is null && _inHand.Remove(barred.Site, out var taken) && !Asynchronous)
                    _accepted.Remove((barred.Site, taken.Id.Round));
                break;
            case SiteUnbarred unbarred: _barred.Remove(unbarred.Site); break;
            case FederationStopDecided: _stopped = true; break;
            case FederationEnded ended: Ended(ended); break;
        }
        _replayed = RoundCoordinator.Apply(_replayed, decision);
    }

    /// <summary>What a coordinator believes is what one would believe that read the journal now.</summary>
    public void Believes(RoundCoordinatorState state)
    {
        var replayed = _replayed;
        Must(state.Model == replayed.Model, $"the coordinator believes in {state.Model}, and the journal in {replayed.Model}");
        Must(state.LastKey == replayed.LastKey, $"the coordinator is at {state.LastKey}, and the journal at {replayed.LastKey}");
        Must(state.Phase == replayed.Phase || state.Phase == RoundPhase.Ending, $"the coordinator is {state.Phase}, and one that reads the journal would be {replayed.Phase}");
        Must(state.StopReason == replayed.StopReason, "the coordinator and the journal do not agree on whether to stop");
        Must(state.Reservations.SequenceEqual(replayed.Reservations), "the coordinator and the journal do not agree on what the ledger holds");
        Must(state.Barred.Keys.SequenceEqual(replayed.Barred.Keys), "the coordinator and the journal do not agree on who is shut out");
        if (Settings.SecureAggregation is null)
            Must((state.Round?.Updates.Values ?? []).SequenceEqual(replayed.Round?.Updates.Values ?? []), "the coordinator and the journal do not agree on which updates count");
    }

    public void Told(string site, ToSite message)
    {
        switch (message)
        {
            case RoundAnnounced announced: Announced(site, announced); break;
            case UpdateAcknowledged acknowledged when Settings.SecureAggregation is null:
                Must(_accepted.GetValueOrDefault((site, acknowledged.Id.Round)) == acknowledged.Id.Sha256, $"{site} is told that its update for {acknowledged.Id.Round} counts, and the journal does not say so");
                break;
            case EvaluateModel evaluate: Must(evaluate.Model == Newest, $"{site} is to evaluate {evaluate.Model}, and the newest is {Newest}"); break;
        }
    }

    public void Offered(SimulatedSite site, UpdateId id)
    {
        var (key, before) = ((site.Name, id.Round), _offered.GetValueOrDefault((site.Name, id.Round)));
        Must(before is null || before == id.Sha256, $"{site} offers two different updates for {id.Round}: each costs privacy, and one is counted");
        _offered[key] = id.Sha256;
    }

    public void JournaledAtSite(SimulatedSite site, RoundSiteDecision decision)
    {
        if (decision is not RoundTaken taken)
            return;
        Must(taken.Round >= _taken.GetValueOrDefault(site.Name), $"{site} goes back to {taken.Round}");
        _taken[site.Name] = taken.Round;
        Must(_announced.Contains(taken.Round), $"{site} works on {taken.Round}, which nobody announced");
    }

    public void LedgerCovers()
    {
        if (!Private)
            return;
        foreach (var key in _announced)
            Must(world.Ledger.Covers(key), $"sites were told of {key}, and the ledger counts nothing for it");
        Must(world.Ledger.Counted <= world.Schedule.BudgetLimit, "more was spent than there was");
    }

    public void Over()
    {
        LedgerCovers();
        Must(_ended, "the run is over without a word in the journal");
        if (world.Schedule.Exact)
        {
            var undisturbed = StandInModel.Undisturbed(world.Schedule.Run, world.Sites.Select(site => site.Name));
            Must(Newest == undisturbed, $"the run ended with {Newest}, and the undisturbed one with {undisturbed}");
        }
    }

    private void Opened(RoundOpened opened)
    {
        var (key, cohort) = (opened.Round, opened.Cohort);
        Must(_open is null, $"{key} opens, and {_open?.Round} is still in hand");
        Must(_opened.Count == 0 || key > _opened.Max, $"{key} opens after {_opened.LastOrDefault()}");
        Must(key.Round == Newest.Number + 1 && opened.Base == Newest, $"{key} begins with {opened.Base}, and the newest model is {Newest}");
        Must(!_stopped, $"{key} opens, and the run is to stop");
        Must(cohort.Sites.Distinct().Count() == cohort.Sites.Length && cohort.Sites.Length >= cohort.Target && cohort.Target >= cohort.Quorum, $"{key} has a cohort that cannot be: {cohort}");
        Must(cohort.Quorum >= Math.Min(Asynchronous ? Settings.BufferSize : Settings.Quorum ?? cohort.Target, cohort.Target), $"{key} needs fewer updates than the job wants");
        Must(!cohort.Sites.Any(_barred.Contains), $"{key} asks a site that is shut out");
        _opened.Add(key);
        _openedInLife = world.Coordinator.Life;
        (_open, _closed) = (opened, null);
        _inHand.Clear();
    }

    private void Announced(string site, RoundAnnounced announced)
    {
        var key = announced.Round;
        Must(_opened.Contains(key), $"{site} is told of {key}, which is in no journal");
        Must(!Private || (_granted.Contains(key) && world.Ledger.Covers(key)), $"{site} is told of {key}, and nothing is reserved for it");
        Must(announced.Model == _models[key.Round - 1], $"{site} is to begin {key} with {announced.Model}");
        Must(!_barred.Contains(site), $"{site} is shut out and told of {key}");
        if (!Asynchronous)
            Must(_open?.Round == key && _closed is null && _open.Cohort.Sites.Contains(site), $"{site} is told of {key}, which is not open, or not for it");
        _announced.Add(key);
    }

    private void Accepted(AcceptedUpdate update)
    {
        var id = update.Id;
        Must(Settings.SecureAggregation is null, $"a masked update of {id.Site} is in the journal, as if a restart could go on with it");
        Must(_open is not null && _closed is null, $"an update of {id.Site} is accepted for {id.Round}, and nothing is open");
        Must(_offered.GetValueOrDefault((id.Site, id.Round)) == id.Sha256, $"an update of {id.Site} for {id.Round} is accepted that it never offered");
        Must(_accepted.TryAdd((id.Site, id.Round), id.Sha256), $"an update of {id.Site} for {id.Round} is accepted a second time");
        Must(!_barred.Contains(id.Site), $"{id.Site} is shut out and its update accepted");
        var staleness = Newest.Number - (id.Round.Round - 1);
        Must(update.Staleness == staleness, $"an update is {staleness} models behind, and written down as {update.Staleness}");
        if (Asynchronous)
            Must(staleness <= Settings.MaxStaleness && _opened.Contains(id.Round), $"an update is accepted that is {staleness} models behind");
        else
            Must(id.Round == _open!.Round && _open.Cohort.Sites.Contains(id.Site), $"an update for {id.Round} is accepted in {_open.Round}");
        Must(_inHand.TryAdd(id.Site, update), $"{id.Site} counts twice in {_open!.Round}");
    }

    private void Closed(RoundClosed closed)
    {
        Must(_open?.Round == closed.Round && _closed is null, $"{closed.Round} closes, and was not open");
        var sites = closed.Updates.Select(update => update.Id.Site).ToList();
        Must(sites.Distinct().Count() == sites.Count, $"a site counts twice in {closed.Round}");
        Must(sites.SequenceEqual(sites.Order(StringComparer.Ordinal)), $"the updates of {closed.Round} are in no fixed order");
        Must(sites.Count >= _open!.Cohort.Quorum, $"{closed.Round} closes with {sites.Count} updates and needs {_open.Cohort.Quorum}");
        Must(!sites.Any(_barred.Contains), $"{closed.Round} counts a site that is shut out");
        if (Settings.SecureAggregation is null)
            Must(closed.Updates.SequenceEqual(_inHand.Values), $"{closed.Round} closes with other updates than were accepted");
        else
            Must(_openedInLife == world.Coordinator.Life, $"{closed.Round} closes after a restart, which forgot the keys of its session");
        if (Settings.SecureAggregation is not null)
            Must(sites.Count >= 2 && sites.Count >= Math.Ceiling(2.0 / 3 * _open.Cohort.Sites.Length - 1e-9), $"{closed.Round} closes below the threshold of its secret shares");
        foreach (var id in closed.Updates.Select(update => update.Id))
            Must(_offered.GetValueOrDefault((id.Site, id.Round)) == id.Sha256 && (Asynchronous || id.Round == closed.Round), $"{closed.Round} closes with an update of {id.Site} for {id.Round}");
        _closed = closed;
    }

    private void Committed(ModelCommitted committed)
    {
        Must(_closed is not null && _closed.Round == committed.Round, $"{committed.Round} is committed, and was not closed");
        Must(committed.Model.Number == Newest.Number + 1 && committed.Model.Number == committed.Round.Round, $"{committed.Round} makes model {committed.Model.Number} after {Newest.Number}");
        Must(committed.Model.Sha256 == StandInModel.Aggregate(Newest, _closed!.Updates), $"{committed.Round} is committed with something else than its updates");
        _models.Add(committed.Model.Number, committed.Model);
        (_open, _closed) = (null, null);
    }

    private void Ended(FederationEnded ended)
    {
        _ended = true;
        Must(!world.Ledger.Entries.Values.Contains(Entry.Held), "the run is over, and the ledger does not know what became of a round");
        switch (ended.Outcome)
        {
            case FederationFinished finished: Must(finished.Rounds == Settings.Rounds && finished.ModelSha256 == Newest.Sha256 && Newest.Number == Settings.Rounds, $"the run finished elsewhere: {finished}"); break;
            case FederationStopped: Must(world.StopAsked, "the run stopped and nobody asked it to"); break;
            default: Must(world.Schedule.BudgetLimit < int.MaxValue, $"the run failed: {ended.Outcome}"); break;
        }
    }

    private static void Must(bool holds, string promise)
    {
        if (!holds)
            throw new BrokenPromise(promise);
    }

    private static void Must(bool holds, [InterpolatedStringHandlerArgument(nameof(holds))] ref PromiseText promise)
    {
        if (!holds)
            throw new BrokenPromise(promise.ToString());
    }

    /// <summary>Put together only when the promise is broken: it is kept a million times.</summary>
    [InterpolatedStringHandler]
    public ref struct PromiseText
    {
        private DefaultInterpolatedStringHandler _text;

        public PromiseText(int literals, int holes, bool holds, out bool needed)
        {
            needed = !holds;
            _text = holds ? default : new DefaultInterpolatedStringHandler(literals, holes, CultureInfo.InvariantCulture);
        }

        public void AppendLiteral(string text) => _text.AppendLiteral(text);

        public void AppendFormatted<T>(T value) => _text.AppendFormatted(value);

        public override string ToString() => _text.ToStringAndClear();
    }
}
