using Sora.Federation.Aggregation.Strategies;
using Sora.Federation.Aggregation.Sums;
using Sora.Federation.Aggregation.Updates;
using Sora.Protocol.Jobs;

namespace Sora.Federation.Aggregation;

/// <summary>
/// One round at the server: takes updates chunk by chunk, from any number of sites in any order, and makes new global weights of
/// the whole ones. The result has the same bytes whatever order chunks and updates came in, however often the process died
/// meanwhile: everything that counts is in the folder of the round. Memory: the model and its state twice while finishing, and a
/// run of values (of each site, for rules that need all updates at once). Disk: see <see cref="ServerStrategy.Streams"/>.
/// One caller at a time.
/// </summary>
public sealed class AggregationRound
{
    /// <summary>Whole updates that are added to the durable sum at once: the sum is rewritten so many times less often.</summary>
    internal const int FoldEvery = 8;

    private readonly ServerStrategy _strategy;
    private readonly ServerModel _model;
    private readonly RoundTerms _terms;
    private readonly UpdateInbox _inbox;
    private readonly RoundSum _sum;
    private readonly int _foldEvery;
    private readonly HashSet<string> _admitted = new(StringComparer.Ordinal);

    private AggregationRound(ServerStrategy strategy, ServerModel model, RoundTerms terms, UpdateInbox inbox, RoundSum sum, int foldEvery) =>
        (_strategy, _model, _terms, _inbox, _sum, _foldEvery) = (strategy, model, terms, inbox, sum, foldEvery);

    /// <summary>Begins a round, or goes on with one that a process began before in the same folder.</summary>
    /// <param name="strategy">How to aggregate; the same one each time the round is opened.</param>
    /// <param name="model">The global weights and server state that the round begins with; not changed.</param>
    /// <param name="terms">Who takes part, and what is taken.</param>
    /// <param name="folder">A folder of this round alone.</param>
    public static AggregationRound Begin(ServerStrategy strategy, ServerModel model, RoundTerms terms, string folder) => Begin(strategy, model, terms, folder, FoldEvery);

    internal static AggregationRound Begin(ServerStrategy strategy, ServerModel model, RoundTerms terms, string folder, int foldEvery)
    {
        if (model.State.Length != strategy.Optimizer.StateVectors)
            throw new SoraException($"The server state has {model.State.Length} vectors, {strategy.Name} needs {strategy.Optimizer.StateVectors}; "
                + "it is of another strategy.", ExitCode.InvalidInput);
        Directory.CreateDirectory(folder);
        var parameters = (long)model.Weights.Length * strategy.Optimizer.UpdateVectors;
        var sum = RoundSum.Open(Path.Combine(folder, "sum"), terms.Round, parameters);
        var inbox = UpdateInbox.Open(folder, parameters, terms);
        // A crash between adding updates to the sum and letting them go leaves them in both places.
        foreach (var counted in sum.Counted)
        {
            inbox.Remove(counted.Site);
            inbox.Withdraw(counted.Site);
        }
        return new AggregationRound(strategy, model, terms, inbox, sum, foldEvery);
    }

    /// <summary>Sites whose update is whole and valid, in the order of their names.</summary>
    public IReadOnlyList<string> Whole => [.. _sum.Counted.Select(update => update.Site).Concat(_inbox.Whole.Select(update => update.Site)).Order(StringComparer.Ordinal)];

    /// <summary>Sites whose update was refused once it was whole, and why.</summary>
    public IReadOnlyList<Rejected> Refused => _inbox.Rejected;

    /// <summary>The SHA-256 of a site's update, in lower-case hexadecimal, once it is whole; null before.</summary>
    public string? HashOf(string site) => _sum.Find(site)?.Sha256
        ?? (_inbox.Whole.FirstOrDefault(update => update.Site == site) is { } whole ? Convert.ToHexStringLower(whole.Manifest.Hash.Span) : null);

    /// <summary>Takes an announcement; see <see cref="UpdateInbox.Announce"/>.</summary>
    public Receipt Announce(UpdateManifest manifest)
    {
        if (_sum.Find(manifest.Site) is not { } counted)
            return _inbox.Announce(manifest);
        return counted.Sha256 == Convert.ToHexStringLower(manifest.Hash.Span)
            ? Receipt.Whole
            : Receipt.Refused($"Site {manifest.Site} has already sent another update for round {_terms.Round}.");
    }

    /// <summary>Takes a chunk; see <see cref="UpdateInbox.Accept"/>.</summary>
    public Receipt Accept(string site, long round, int chunk, long offset, ReadOnlySpan<byte> content)
    {
        if (_sum.Find(site) is not null)
            return Receipt.Whole;
        return _inbox.Accept(site, round, chunk, offset, content);
    }

    /// <summary>
    /// Says that the whole update of a site counts, once that is journaled: from here on it may be added to the durable sum and let go,
    /// which cannot be undone. Say it again for every such update after <see cref="Begin(ServerStrategy, ServerModel, RoundTerms, string)"/>
    /// in a new process. Updates of which it is not said take part all the same, but stay in their files until the end.
    /// </summary>
    public void Admit(string site)
    {
        if (_sum.Find(site) is not null || !_admitted.Add(site) || !_strategy.Streams)
            return;
        var due = _inbox.Whole.Where(update => _admitted.Contains(update.Site)).ToList();
        if (due.Count < _foldEvery)
            return;
        _sum.Fold(RoundArithmetic.TermsOf(_strategy, _terms.Round, due));
        foreach (var update in due)
            _inbox.Remove(update.Site);
    }

    /// <summary>The chunks of a site's announced update that have not arrived.</summary>
    public IReadOnlyList<ChunkRange> Missing(string site) => _inbox.Missing(site);

    /// <summary>Forgets what has arrived of a site's update that is not whole.</summary>
    public void Withdraw(string site) => _inbox.Withdraw(site);

    /// <summary>
    /// Makes new global weights and server state of the updates that are whole. Changes nothing: done again, also by another process,
    /// it gives the same bytes. Remove the folder when the outcome is durable.
    /// </summary>
    /// <exception cref="SoraException">No update is left to aggregate.</exception>
    public RoundOutcome Finish() => RoundArithmetic.Close(_strategy, _model, _terms.Round, _sum, [.. _inbox.Whole], _inbox.Rejected);

    /// <summary>
    /// The same of exactly these updates, the ones the journal has closed the round with; others that are whole are left out.
    /// </summary>
    /// <param name="updates">The sites, and the SHA-256 of what each sent, in lower-case hexadecimal.</param>
    /// <exception cref="SoraException">One of them is not here, or one that is not among them is in the sum already: do the round again.</exception>
    public RoundOutcome Finish(IReadOnlyDictionary<string, string> updates)
    {
        if (_sum.Counted.FirstOrDefault(counted => !updates.TryGetValue(counted.Site, out var hash) || hash != counted.Sha256) is { } foreign)
            throw new SoraException($"The sum of round {_terms.Round} already holds an update of site {foreign.Site} that the round was closed without; "
                + "what was added cannot be taken out, so do the round again.");
        var whole = _inbox.Whole.Where(update => updates.TryGetValue(update.Site, out var hash) && hash == Convert.ToHexStringLower(update.Manifest.Hash.Span)).ToList();
        var missing = updates.Keys.Except(_sum.Counted.Select(counted => counted.Site).Concat(whole.Select(update => update.Site)), StringComparer.Ordinal)
            .Order(StringComparer.Ordinal).ToList();
        return missing.Count == 0
            ? RoundArithmetic.Close(_strategy, _model, _terms.Round, _sum, whole, _inbox.Rejected)
            : throw new SoraException($"Round {_terms.Round} was closed with updates that are not here: {string.Join(", ", missing)}; do the round again.");
    }
}
