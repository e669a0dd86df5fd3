using System.Collections.Immutable;
using Sora.Federation.Rounds;
using Sora.Protocol.Runs;

namespace Sora.Federation.Tests.Rounds;

/// <summary>A coordinator that is told one thing after the other, and what it did.</summary>
internal sealed class Rehearsal
{
    private readonly List<RoundDecision> _journal = [];
    private readonly List<RoundEffect> _all = [];
    private TimeSpan _now;

    public Rehearsal(FederationSettings settings) =>
        Happen(new FederationSubmitted(new FederatedRun("run", 1, new ModelVersion(0, "initial"), new ChunkLayout(100, 10), settings)));

    public RoundCoordinatorState State { get; private set; } = RoundCoordinatorState.Empty;

    /// <summary>What the last event led to.</summary>
    public IReadOnlyList<RoundEffect> Effects { get; private set; } = [];

    public IEnumerable<RunEvent> Reports => _all.OfType<ShowReport>().Select(shown => shown.Report);

    public IReadOnlyList<RoundDecision> Journal => _journal;

    public Rehearsal Happen(RoundEvent happened)
    {
        (State, Effects) = RoundCoordinator.Decide(State, happened with { At = _now });
        _journal.AddRange(Effects.OfType<JournalRound>().Select(record => record.Decision));
        _all.AddRange(Effects);
        return this;
    }

    public Rehearsal Wait(double seconds)
    {
        _now += TimeSpan.FromSeconds(seconds);
        return this;
    }

    /// <summary>Another coordinator reads the journal.</summary>
    public Rehearsal Restart()
    {
        State = _journal.Aggregate(RoundCoordinatorState.Empty, RoundCoordinator.Apply);
        _now = TimeSpan.Zero;
        return Happen(new FederationRecovered());
    }

    public Rehearsal Arrive(params string[] sites) => Each(sites, site => new SiteArrived(new SiteHello("run", site, $"{site}/1", "", null, false)));

    public Rehearsal Deliver(RoundKey round, params string[] sites) => Each(sites, site => new UpdateStored(Offer(round, site)));

    public Rehearsal Say(string site, FromSite message) => Happen(new SiteSaid(site, message));

    public Rehearsal TimeOut(RoundTimer timer) => Happen(new RoundTimerFired(new RoundTimerKey(timer, State.LastKey, State.Round?.Secure?.Stage ?? SecureStage.AdvertiseKeys)));

    public Rehearsal Aggregate() => Happen(new RoundAggregated(State.LastKey, $"model-{State.LastKey.Round}.{State.LastKey.Attempt}", ImmutableSortedDictionary<string, string>.Empty));

    public IReadOnlyList<T> Told<T>(string site) where T : ToSite => [.. Effects.OfType<TellSite>().Where(tell => tell.Site == site).Select(tell => tell.Message).OfType<T>()];

    public static RoundKey Key(int round, int attempt = 1) => new(round, attempt);

    public static UpdateOffer Offer(RoundKey round, string site, string sha256 = "abc") => new(new UpdateId(round, site, sha256), 400, Weight: site.Length, Loss: 2);

    private Rehearsal Each(string[] sites, Func<string, RoundEvent> happening)
    {
        var effects = new List<RoundEffect>();
        foreach (var site in sites)
        {
            Happen(happening(site));
            effects.AddRange(Effects);
        }
        Effects = effects;
        return this;
    }
}
