using System.Collections.Immutable;
using Sora.Federation.Aggregation;
using Sora.Federation.Aggregation.Strategies;
using Sora.Federation.Aggregation.Updates;
using Sora.Federation.Privacy;
using Sora.Federation.Rounds;
using Sora.Protocol.Jobs;

namespace Sora.Coordinator.Federations;

/// <summary>The updates of one attempt at a round, and what is made of them.</summary>
internal sealed class RoundInbox
{
    private readonly FederationSettings _settings;
    private readonly ServerStrategy _strategy;
    private readonly ServerModel _model;
    private readonly string _folder;
    private readonly SumCollector? _collector;

    private RoundInbox(RoundKey key, AggregationRound round, FederationSettings settings, ServerStrategy strategy, ServerModel model, string folder, SumCollector? collector) =>
        (Key, Round, _settings, _strategy, _model, _folder, _collector) = (key, round, settings, strategy, model, folder, collector);

    public RoundKey Key { get; }

    public AggregationRound Round { get; }

    public static RoundInbox Open(RoundKey key, FederationSettings settings, ModelFiles models, ModelVersion version, IReadOnlySet<string> sites, string folder)
    {
        var strategy = ServerStrategies.Of(settings);
        var model = models.Read(version, strategy.Optimizer);
        var terms = new RoundTerms(key.Round, sites) { MaxStaleness = settings.Mode == FederationMode.Asynchronous ? settings.MaxStaleness : 0 };
        if (settings.DifferentialPrivacy is not { Model: PrivacyModel.Central })
            return new RoundInbox(key, AggregationRound.Begin(strategy, model, terms, folder), settings, strategy, model, folder, null);
        // The optimizer may see the sum with its noise only.
        var collector = new SumCollector();
        var summing = AggregationRound.Begin(strategy with { Optimizer = collector }, new ServerModel(model.Round, model.Weights, []), terms, folder);
        return new RoundInbox(key, summing, settings, strategy, model, folder, collector);
    }

    /// <summary>The next model. The same call gives the same bytes, also with noise: its seed is drawn once an attempt.</summary>
    public RoundOutcome Finish(ImmutableArray<AcceptedUpdate> updates, int target)
    {
        var hashes = updates.ToDictionary(update => update.Id.Site, update => update.Id.Sha256, StringComparer.Ordinal);
        if (_collector is null)
            return Round.Finish(hashes);
        var privacy = _settings.DifferentialPrivacy!;
        _collector.Begin(_model.Weights.Length);
        var outcome = Round.Finish(hashes);
        using var random = SeededRandom.InFolder(_folder);
        // Divided by how many were wanted, which was known before: how many came would tell who did.
        new CentralNoise(privacy.NoiseMultiplier, privacy.ClippingNorm).ReleaseAverage(_collector.Sum, target, random);
        var average = new MemoryUpdate("average", 1, [.. _collector.Sum.Select(value => (float)value)], Key.Round);
        var released = RoundArithmetic.Aggregate(_strategy with { Screens = [], Weighting = Weighting.Uniform }, _model, Key.Round, [average]);
        return new RoundOutcome(released.Model, outcome.Counted, outcome.Rejected);
    }

    /// <summary>Takes the place of an optimizer to get hold of the sum. Runs come in the order of parameters.</summary>
    private sealed record SumCollector : ServerOptimizer
    {
        private int _at;

        public double[] Sum { get; private set; } = [];

        public void Begin(int parameters) => (Sum, _at) = (new double[parameters], 0);

        public override void Step(int part, ReadOnlySpan<double> delta, Span<float> weights, StateRun state, int sites)
        {
            foreach (var mean in delta)
                Sum[_at++] = mean * sites;
        }
    }
}
