using Sora.Federation.Privacy;
using Sora.Federation.Rounds;
using Sora.Protocol.Jobs;

namespace Sora.Coordinator.Federations;

/// <summary>A run's attempts in its privacy ledger: each is reserved once and settled once, whoever asks how often.</summary>
internal sealed class BudgetKeeper(FederatedRun run, string path, TimeProvider time) : IDisposable
{
    private BudgetLedger? _ledger;

    /// <summary>Reserves an attempt.</summary>
    /// <returns>Epsilon spent in all, this attempt included, and its delta.</returns>
    /// <exception cref="SoraException">The budget does not cover it, or the ledger is not in order.</exception>
    public (double Epsilon, double Delta) Reserve(RoundKey key)
    {
        var privacy = run.Settings.DifferentialPrivacy!;
        var ledger = Open(privacy);
        if (ledger.Find(PurposeOf(key)) is { IsOpen: false })
            throw new SoraException($"The privacy ledger {path} has settled {key} already, so it cannot be reserved again.", ExitCode.InvalidInput);
        // Everybody who is asked takes part, or may: cohorts of a fixed size are no Poisson sampling, and nothing is gained from them here.
        if (ledger.Find(PurposeOf(key)) is null)
            ledger.Reserve(PurposeOf(key), new PrivacyEvent(privacy.NoiseMultiplier, 1, 1));
        return (ledger.SpentEpsilon, privacy.Delta);
    }

    /// <summary>Settles an attempt; one that was never reserved has nothing to settle.</summary>
    public void Settle(RoundKey key, bool spent)
    {
        var ledger = Open(run.Settings.DifferentialPrivacy!);
        if (ledger.Find(PurposeOf(key)) is { IsOpen: true } reserved)
            ledger.Settle(reserved.Id, spent ? 1 : 0);
    }

    public void Dispose() => _ledger?.Dispose();

    // A first line that a crash cut short promised nobody anything.
    private bool IsBegun => File.Exists(path) && File.ReadAllBytes(path).Contains((byte)'\n');

    private static string PurposeOf(RoundKey key) => $"round {key.Round} attempt {key.Attempt}";

    private BudgetLedger Open(DifferentialPrivacySettings privacy)
    {
        var budget = new PrivacyBudget(run.Run, privacy.TargetEpsilon, privacy.Delta);
        return _ledger ??= IsBegun ? BudgetLedger.Open(path, budget, time) : BudgetLedger.Create(path, budget, time);
    }
}
