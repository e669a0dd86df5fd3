namespace Sora.Federation.Privacy;

/// <summary>What a ledger says at a moment.</summary>
public sealed class LedgerReport
{
    internal const long MostForecast = 1_000_000;

    private readonly PrivacyAccountant _accountant;
    private readonly PrivacyEvent[] _spent;

    internal LedgerReport(LedgerContents contents)
    {
        _accountant = PrivacyAccountant.Named(contents.Budget.Accountant);
        _spent = [.. contents.Spent];
        (Budget, Reservations, Unsettled, EndsTorn) = (contents.Budget, contents.Reservations.LongCount(), contents.Unsettled, contents.IsTorn);
        (LastRelease, Head) = (contents.Reservations.LastOrDefault()?.Event, contents.Hash);
    }

    /// <summary>The budget.</summary>
    public PrivacyBudget Budget { get; }

    /// <summary>How many reservations there are.</summary>
    public long Reservations { get; }

    /// <summary>How many of them nobody has settled: rounds that run, or that a crash ended. They count in full.</summary>
    public long Unsettled { get; }

    /// <summary>Whether the last line is not whole: somebody writes it just now, or a crash cut it short.</summary>
    public bool EndsTorn { get; }

    /// <summary>What was reserved last.</summary>
    public PrivacyEvent? LastRelease { get; }

    /// <summary>The hash of the last whole entry.</summary>
    public string Head { get; }

    /// <summary>All releases that count as spent.</summary>
    public IReadOnlyList<PrivacyEvent> Spent => _spent;

    /// <summary>Their epsilon.</summary>
    public double SpentEpsilon => _accountant.Epsilon(_spent, Budget.Delta);

    /// <summary>How many more of these releases (each <see cref="PrivacyEvent.Count"/> at once) the budget allows, up to <paramref name="most"/>.</summary>
    public long Forecast(PrivacyEvent release, long most = MostForecast)
    {
        release.Validated();
        most = Math.Min(most, PrivacyEvent.MostReleases / release.Count);
        // Renyi's orders are quick and never promise more than the tight accountant, which then starts near the answer.
        var sure = _accountant is RenyiAccountant ? 0 : Largest(new RenyiAccountant(), 0, 2, most);
        return Largest(_accountant, sure, _accountant is RenyiAccountant ? 2 : 1.2, most);

        long Largest(PrivacyAccountant accountant, long fits, double growth, long limit)
        {
            var exceeds = Math.Min(limit, Math.Max(fits + 1, (long)(fits * growth)));
            for (; Fits(exceeds); exceeds = Math.Min(limit, Math.Max(fits + 1, (long)(fits * growth))))
            {
                fits = exceeds;
                if (fits == limit) return limit;
            }
            while (exceeds - fits > 1)
            {
                var middle = fits + (exceeds - fits) / 2;
                if (Fits(middle)) fits = middle;
                else exceeds = middle;
            }
            return fits;

            bool Fits(long times) => times == 0 || accountant.Epsilon(_spent.Append(release with { Count = times * release.Count }), Budget.Delta) <= Budget.Epsilon;
        }
    }
}
