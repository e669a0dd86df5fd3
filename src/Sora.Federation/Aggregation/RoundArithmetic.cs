using Sora.Federation.Aggregation.Robust;
using Sora.Federation.Aggregation.Strategies;
using Sora.Federation.Aggregation.Sums;
using Sora.Federation.Aggregation.Updates;
using Sora.Protocol.Jobs;

namespace Sora.Federation.Aggregation;

/// <summary>What a round computes, whether its updates lie in files or in memory.</summary>
public static class RoundArithmetic
{
    /// <summary>Aggregates updates that are all at hand, for simulations. Their order does not matter; the model is not changed.</summary>
    /// <exception cref="SoraException">An update does not fit, or none is left to aggregate.</exception>
    public static RoundOutcome Aggregate(ServerStrategy strategy, ServerModel model, long round, IEnumerable<SiteUpdate> updates)
    {
        var parameters = (long)model.Weights.Length * strategy.Optimizer.UpdateVectors;
        var ordered = updates.OrderBy(update => update.Site, StringComparer.Ordinal).ToList();
        for (var i = 0; i < ordered.Count; i++)
        {
            var update = ordered[i];
            if (update.Length != parameters)
                throw new InvalidUpdateException($"The update of site {update.Site} has {update.Length} parameters, {strategy.Name} needs {parameters}.");
            if (!(update.Weight >= ExactSum.MinWeight && update.Weight <= ExactSum.MaxWeight))
                throw new InvalidUpdateException($"Site {update.Site} claims a weight of {update.Weight:g6}; {ExactSum.MinWeight:g6} to {ExactSum.MaxWeight:g6} are taken.");
            if (i > 0 && ordered[i - 1].Site == update.Site)
                throw new InvalidUpdateException($"Site {update.Site} has two updates in round {round}.");
        }
        return Close(strategy, model, round, RoundSum.WithoutFile(round, parameters), ordered, []);
    }

    internal static RoundOutcome Close(ServerStrategy strategy, ServerModel model, long round, RoundSum sum, IReadOnlyList<SiteUpdate> updates, IReadOnlyList<Rejected> refused)
    {
        var (kept, screenedOut) = Screen(strategy, updates);
        var sites = sum.Counted.Count + kept.Count;
        if (sites == 0)
            throw new SoraException($"Round {round} has no update to aggregate; the global weights stay. Wait for more sites, or see why theirs were refused.");
        if (sites > ExactSum.MaxTerms)
            throw new SoraException($"Round {round} has {sites} updates, more than {ExactSum.MaxTerms}; use smaller cohorts.");
        var next = model.Next();
        var terms = kept.Select(contribution => TermOf(strategy, round, contribution)).ToList();
        if (strategy.Rule is { } rule)
            rule.Combine(kept, (first, values, _) => Apply(strategy.Optimizer, next, first, values.Span, sites));
        else
            sum.Means(terms, strategy.Weighting == Weighting.Staleness ? sites : sum.TotalWeight(terms),
                (first, values) => Apply(strategy.Optimizer, next, first, values.Span, sites));
        return new RoundOutcome(next, [.. sum.Counted.Concat(terms.Select(RoundSum.CountedOf)).OrderBy(counted => counted.Site, StringComparer.Ordinal)],
            [.. refused.Concat(screenedOut).OrderBy(site => site.Site, StringComparer.Ordinal)]);
    }

    /// <summary>The terms of updates that may be summed before others are there.</summary>
    internal static IReadOnlyList<Term> TermsOf(ServerStrategy strategy, long round, IReadOnlyList<SiteUpdate> updates) =>
        [.. Screen(strategy, updates).Kept.Select(contribution => TermOf(strategy, round, contribution))];

    private static Screening Screen(ServerStrategy strategy, IReadOnlyList<SiteUpdate> updates)
    {
        IReadOnlyList<Contribution> kept = [.. updates.Select(update => new Contribution(update))];
        var rejected = new List<Rejected>();
        foreach (var screen in strategy.Screens)
        {
            var screening = screen.Screen(kept);
            kept = screening.Kept;
            rejected.AddRange(screening.Rejected);
        }
        return new Screening(kept, rejected);
    }

    private static Term TermOf(ServerStrategy strategy, long round, Contribution contribution)
    {
        var weight = ExactSum.Representable(strategy.WeightOf(contribution.Update, round));
        return new Term(contribution.Update, weight, ExactSum.Representable(weight * contribution.Scale));
    }

    private static void Apply(ServerOptimizer optimizer, ServerModel next, long first, ReadOnlySpan<double> values, int sites)
    {
        // A run may end one vector of the update and begin the next.
        while (values.Length > 0)
        {
            var (part, within) = ((int)(first / next.Weights.Length), (int)(first % next.Weights.Length));
            var count = Math.Min(values.Length, next.Weights.Length - within);
            optimizer.Step(part, values[..count], next.Weights.AsSpan(within, count), new StateRun(next.State, within, count), sites);
            CheckFinite(next.Weights.AsSpan(within, count), within, next.Round);
            foreach (var vector in next.State)
                CheckFinite(vector.AsSpan(within, count), within, next.Round);
            values = values[count..];
            first += count;
        }
    }

    // Updates are finite by now; what the round began with may not be.
    private static void CheckFinite(ReadOnlySpan<float> values, int first, long round)
    {
        for (var i = 0; i < values.Length; i++)
            if (!float.IsFinite(values[i]))
                throw new SoraException($"The model of round {round} would hold {values[i]} in parameter {first + i}, so it is not taken; "
                    + "the training diverges: lower the learning rate of the server.");
    }
}
