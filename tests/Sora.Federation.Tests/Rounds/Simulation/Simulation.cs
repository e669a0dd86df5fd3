using Sora.Federation.Rounds;

namespace Sora.Federation.Tests.Rounds.Simulation;

/// <summary>A promise of the protocol was broken.</summary>
internal sealed class BrokenPromise(string promise) : Exception(promise);

/// <summary>
/// One federated run, from its submission to its end, with everything that the seed makes happen to it. Real state machines; a network,
/// machines, a ledger and a trainer that are made up, no real time: the same seed always plays the same run.
/// </summary>
internal sealed class Simulation
{
    private const long Patient = 3_600_000; // ms of virtual time a mended run may take
    private const long MostEvents = 400_000;
    private const long Afterwards = 5_000; // ms in which nothing may happen any more that matters
    private readonly Timeline _timeline = new();
    private readonly List<string>? _trace;
    private readonly HashSet<string> _cut = [];
    private long? _ended;

    public Simulation(int seed, RoundRules rules, bool trace = false)
    {
        Random = new Random(seed);
        Rules = rules;
        _trace = trace ? [] : null;
        Schedule = new Schedule(seed, Random);
        Ledger = new Ledger(Schedule.BudgetLimit);
        Invariants = new Invariants(this);
        Coordinator = new SimulatedCoordinator(this);
        Sites = [.. Enumerable.Range(1, Schedule.Sites).Select(number => new SimulatedSite(this, $"site-{number:00}"))];
    }

    public Random Random { get; }

    public RoundRules Rules { get; }

    public Schedule Schedule { get; }

    public Ledger Ledger { get; }

    public Invariants Invariants { get; }

    public SimulatedCoordinator Coordinator { get; }

    public IReadOnlyList<SimulatedSite> Sites { get; }

    public List<RoundDecision> Journal { get; } = [];

    public bool Mended { get; private set; }

    public bool StopAsked { get; private set; }

    public long Now => _timeline.Now;

    public long Events => _timeline.Events;

    public IReadOnlyList<string> Trace => _trace ?? [];

    public bool Tracing => _trace is not null;

    public void Run()
    {
        Coordinator.Start();
        foreach (var site in Sites)
            site.Start();
        for (var fault = 0; fault < Schedule.Faults; fault++)
            After(Random.NextInt64(Schedule.FaultsEnd), Break);
        After(Schedule.FaultsEnd, Mend);
        if (Schedule.StopAt is { } stop)
            After(stop, AskToStop);
        while (_ended is not { } ended || Now < ended + Afterwards)
        {
            if (!_timeline.Next())
            {
                if (_ended is not null)
                    break;
                throw new BrokenPromise("nothing more will ever happen, and the run is not over");
            }
            if (Coordinator.State.Phase == RoundPhase.Ended)
                _ended ??= Now;
            if (Events > MostEvents || Now > Schedule.FaultsEnd + Patient)
                throw new BrokenPromise($"no end in sight after {Events} events and {Now / 1000} s; the coordinator is {Coordinator.State.Phase} at {Coordinator.State.LastKey}");
        }
        Invariants.Over();
    }

    public void After(long milliseconds, Action happening) => _timeline.After(milliseconds, happening);

    public void Note(string what) => _trace?.Add($"{Now,8} {what}");

    public bool Chance(Fault kind, double probability) => !Mended && Schedule.Has(kind) && Random.NextDouble() < probability;

    public bool Reaches(SimulatedSite site) => !_cut.Contains(site.Name);

    /// <summary>
    /// A message on its way: it may be lost, come twice, or late, even from a stream before. Only words that bind for ever are dropped with
    /// their stream, as the shells promise.
    /// </summary>
    public void Send(SimulatedSite site, object message, Action deliver)
    {
        var link = message is Dismissed or SiteDraining or RoundRefused { ForJob: true } ? site.Link : 0;
        for (var copy = Chance(Fault.DuplicateMessages, 0.1) ? 2 : 1; copy > 0; copy--)
        {
            if (!Reaches(site) || Chance(Fault.LoseMessages, 0.15))
                continue;
            var delay = Random.Next(1, 20) + (Chance(Fault.DelayMessages, 0.2) ? Random.Next(15_000) : 0);
            After(delay, () =>
            {
                if (link == 0 || link == site.Link)
                    deliver();
            });
        }
    }

    private void Break()
    {
        if (Schedule.Kinds.Count == 0)
            return;
        var site = Sites[Random.Next(Sites.Count)];
        switch (Schedule.Kinds[Random.Next(Schedule.Kinds.Count)])
        {
            case Fault.KillCoordinator: Coordinator.Kill("killed"); break;
            case Fault.KillSite: site.Kill("killed"); break;
            case Fault.Partition: Cut(site); break;
            case Fault.JumpClock: Coordinator.JumpClock(); break;
            case Fault.LoseUpdates: Coordinator.LoseAnUpdate(); break;
            case Fault.Ban: Coordinator.Happen(new SiteBanned(site.Name, "its updates poison the model")); break;
            case Fault.Drain: site.Happen(new DrainRequested()); break;
        }
    }

    private void Cut(SimulatedSite site)
    {
        Note($"nothing reaches {site}, and nothing comes from it");
        _cut.Add(site.Name);
        site.Unlink("the network is cut");
        After(Random.Next(500, 30_000), () => _cut.Remove(site.Name));
    }

    private void Mend()
    {
        Note("everything mends");
        Mended = true;
        _cut.Clear();
        Coordinator.Start();
        foreach (var site in Sites)
        {
            Coordinator.Happen(new SiteReadmitted(site.Name));
            if (!site.Alive || site.OutOfIt)
                site.Restart();
        }
        foreach (var site in Sites)
            After(20_000, () => { Coordinator.Happen(new SiteReadmitted(site.Name)); site.RestartIfOutOfIt(); });
    }

    private void AskToStop()
    {
        if (Journal.Any(decision => decision is FederationStopDecided or FederationEnded))
            return;
        if (!StopAsked && Schedule.KilledAfterStop is { } after)
            After(after, () => Coordinator.Kill("killed after the stop"));
        StopAsked = true;
        Coordinator.Happen(new FederationStopRequested("somebody wants that"));
        After(2_000, AskToStop);
    }
}
