using System.Collections.Immutable;
using Sora.Federation.Rounds;

namespace Sora.Federation.Tests.Rounds.Simulation;

/// <summary>
/// A coordinator process: the real state machine in a shell. What the shell promises: decisions are in the journal, in order, before any
/// other effect of their turn; the ledger and stored updates survive a kill, keys of secure rounds do not.
/// </summary>
internal sealed class SimulatedCoordinator(Simulation world)
{
    private readonly Dictionary<RoundTimer, (RoundTimerKey Key, int Number)> _timers = [];
    private readonly Dictionary<UpdateId, SortedSet<int>> _stored = [];
    private readonly Dictionary<RoundKey, int> _sessions = [];
    private int _timersSet;
    private int _life;
    private long _startedAt;
    private long _clockAhead;

    public RoundCoordinatorState State { get; private set; } = RoundCoordinatorState.Empty;

    public bool Alive { get; private set; }

    /// <summary>How often it died.</summary>
    public int Life => _life;

    private int Chunks => world.Schedule.Run.Chunks.Chunks;

    public void Start()
    {
        if (Alive)
            return;
        Alive = true;
        _startedAt = world.Now;
        State = world.Journal.Aggregate(RoundCoordinatorState.Empty, world.Rules.Apply);
        world.Note($"the coordinator starts: {State.Phase}, {State.LastKey}, model {State.Model.Number}");
        if (State.Run is null)
            Happen(new FederationSubmitted(world.Schedule.Run));
        else
            Happen(new FederationRecovered());
    }

    public void Kill(string reason)
    {
        if (!Alive)
            return;
        world.Note($"the coordinator dies: {reason}");
        Alive = false;
        _life++;
        _timers.Clear();
        State = RoundCoordinatorState.Empty;
        foreach (var site in world.Sites)
            site.Unlink("the coordinator is gone");
        world.After(world.Random.Next(50, 15_000), Start);
    }

    public void Happen(RoundEvent happened)
    {
        if (!Alive)
            return;
        var before = State;
        var (state, effects) = world.Rules.Coordinator(State, happened with { At = TimeSpan.FromMilliseconds(world.Now - _startedAt + _clockAhead) });
        var decided = false;
        foreach (var decision in effects.OfType<JournalRound>().Select(record => record.Decision))
        {
            if (Crashes())
                return;
            world.Journal.Add(decision);
            if (world.Tracing)
                world.Note($"journal: {Describe(decision)}");
            world.Invariants.Journaled(decision);
            decided = true;
        }
        State = state;
        if (world.Tracing && (State.Phase != before.Phase || State.LastKey != before.LastKey))
            world.Note($"coordinator: {happened.GetType().Name} -> {State.Phase} {State.LastKey}");
        foreach (var effect in effects)
        {
            if (Crashes())
                return;
            Perform(effect);
        }
        if (decided)
            world.Invariants.Believes(State);
    }

    /// <summary>A clock that jumps: what is set fires now, or much later than it should.</summary>
    public void JumpClock()
    {
        world.Note("the coordinator's clock jumps");
        _clockAhead += world.Random.Next(200_000);
        foreach (var timer in _timers.Values.OrderBy(timer => timer.Number).ToList())
            Set(timer.Key, world.Random.Next(2) == 0 ? 0 : world.Random.Next(60_000));
    }

    /// <summary>A disk that forgets.</summary>
    public void LoseAnUpdate()
    {
        if (_stored.Count == 0)
            return;
        var lost = _stored.Keys.ElementAt(world.Random.Next(_stored.Count));
        world.Note($"the stored update of {lost.Site} for {lost.Round} is lost");
        _stored.Remove(lost);
    }

    public void Hear(SimulatedSite site, FromSite message)
    {
        if (message is SiteHello hello)
            Happen(new SiteArrived(hello));
        else
            Happen(new SiteSaid(site.Name, message));
    }

    public void HearChunk(UpdateOffer offer, int chunk)
    {
        if (!Alive)
            return;
        if (!_stored.TryGetValue(offer.Id, out var chunks))
            _stored[offer.Id] = chunks = [];
        if (chunks.Add(chunk) && chunks.Count == Chunks)
            Happen(new UpdateStored(offer));
    }

    private bool Crashes()
    {
        if (!world.Chance(Fault.CrashWhileJournaling, 0.004))
            return false;
        Kill("crash in the middle of a turn");
        return true;
    }

    private void Perform(RoundEffect effect)
    {
        switch (effect)
        {
            case TellSite tell:
                world.Invariants.Told(tell.Site, tell.Message);
                Tell(tell.Site, tell.Message);
                break;
            case ShowReport show:
                world.Note($"report: {show.Report}");
                if (show.Report is RoundBegan began)
                    _sessions[new RoundKey(began.Round, began.Attempt)] = _life;
                break;
            case ReceiveUpdate receive: Receive(receive); break;
            case AggregateRound aggregate: Later(50, 3_000, () => Aggregate(aggregate)); break;
            case DiscardUpdates discard:
                foreach (var id in discard.Updates)
                    _stored.Remove(id);
                break;
            case ReserveBudget reserve:
                var granted = world.Ledger.Reserve(reserve.Round);
                var spent = world.Ledger.Counted;
                Later(1, 300, () => Happen(granted ? new BudgetReserved(reserve.Round, spent) : new BudgetRefused(reserve.Round, "nothing is left.")));
                break;
            case SettleBudget settle:
                world.Ledger.Settle(settle.Round, settle.Spent);
                world.Invariants.LedgerCovers();
                Later(1, 300, () => Happen(new BudgetSettled(settle.Round)));
                break;
            case StartTimer start: Set(start.Key, (long)start.After.TotalMilliseconds); break;
            case StopTimer stop: _timers.Remove(stop.Timer); break;
        }
    }

    private void Tell(string name, ToSite message)
    {
        var site = world.Sites.First(site => site.Name == name);
        world.Send(site, message, () => site.Hear(message));
    }

    private void Receive(ReceiveUpdate receive)
    {
        var have = _stored.GetValueOrDefault(receive.Offer.Id, []);
        if (have.Count == Chunks)
            Later(1, 20, () => Happen(new UpdateStored(receive.Offer)));
        else
            Tell(receive.Site, new UploadFrom(world.Schedule.Run.Run, receive.Offer.Id, Enumerable.Range(0, Chunks).First(chunk => !have.Contains(chunk))));
    }

    private void Aggregate(AggregateRound round)
    {
        if (round.Updates.FirstOrDefault(update => _stored.GetValueOrDefault(update.Id, []).Count < Chunks) is { } lost)
            Happen(new AggregationFailed(round.Round, $"the update of {lost.Id.Site} is lost"));
        else if (world.Schedule.Run.Settings.SecureAggregation is not null && _sessions.GetValueOrDefault(round.Round, -1) != _life)
            Happen(new AggregationFailed(round.Round, "the masked sum was never unmasked"));
        else
            Happen(new RoundAggregated(round.Round, StandInModel.Aggregate(round.Base, round.Updates), ImmutableSortedDictionary<string, string>.Empty));
    }

    private void Later(int least, int most, Action happening)
    {
        var life = _life;
        world.After(world.Random.Next(least, most), () =>
        {
            if (Alive && life == _life)
                happening();
        });
    }

    private void Set(RoundTimerKey key, long milliseconds)
    {
        var (number, life) = (++_timersSet, _life);
        _timers[key.Timer] = (key, number);
        world.After(milliseconds, () =>
        {
            if (life != _life || _timers.GetValueOrDefault(key.Timer).Number != number)
                return;
            _timers.Remove(key.Timer);
            Happen(new RoundTimerFired(key));
        });
    }

    private static string Describe(RoundDecision decision) => decision switch
    {
        RoundOpened opened => $"opened {opened.Round} for {string.Join(", ", opened.Cohort.Sites)}; wants {opened.Cohort.Target}, needs {opened.Cohort.Quorum}",
        RoundClosed closed => $"closed {closed.Round} with {string.Join(", ", closed.Updates.Select(update => update.Id.Site))}",
        _ => decision.ToString(),
    };
}
