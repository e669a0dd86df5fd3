using Sora.Federation.Rounds;
using Sora.Protocol.Jobs;

namespace Sora.Federation.Tests.Rounds.Simulation;

internal enum Fault
{
    KillCoordinator,
    KillSite,
    Partition,
    LoseMessages,
    DuplicateMessages,
    DelayMessages,
    SlowSite,
    RefuseRound,
    FailTraining,
    JumpClock,
    LoseUpdates,
    Ban,
    Drain,
    CrashWhileJournaling,
}

/// <summary>What a seed decides before anything happens: the run, its size, and which faults there will be.</summary>
internal sealed class Schedule
{
    public Schedule(int number, Random random)
    {
        Number = number;
        // Most faults need few sites to show, and few are quick to play.
        Sites = random.Next(40) == 0 ? random.Next(9, 33) : random.Next(1, 9);
        // Every third schedule asks for everybody's update: its outcome is known.
        var full = random.Next(3) == 0;
        var asynchronous = !full && random.Next(3) == 0;
        var secure = !asynchronous && Sites >= 2 && random.Next(3) == 0;
        var least = full ? Sites : random.Next(secure ? 2 : 1, Sites + 1);
        var privacy = random.Next(2) == 0;
        var settings = new FederationSettings
        {
            Rounds = Sites > 8 ? random.Next(1, 4) : random.Next(1, 7),
            MinAvailableSites = least,
            MaxAttempts = 0,
            RoundDeadline = random.Next(10, 40),
            EvalRounds = asynchronous ? 0 : random.Next(0, 3),
            FractionTrain = full || asynchronous ? 1 : 0.3 + 0.7 * random.NextDouble(),
            OverSelection = full || asynchronous || random.Next(2) == 0 ? 1 : 1.3,
            Quorum = full || asynchronous || random.Next(3) == 0 ? null : random.Next(secure ? 2 : 1, least + 1),
            Mode = asynchronous ? FederationMode.Asynchronous : FederationMode.Synchronous,
            BufferSize = asynchronous ? random.Next(1, least + 1) : 2,
            MaxStaleness = random.Next(0, 4),
            Strategy = new StrategySettings(asynchronous ? "fedbuff" : "fedavg"),
            SecureAggregation = secure ? new SecureAggregationSettings(2.0 / 3, 8) : null,
            DifferentialPrivacy = privacy ? new DifferentialPrivacySettings() : null,
        };
        Run = new FederatedRun($"run-{number}", number, new ModelVersion(0, "initial"), new ChunkLayout(10, 3), settings);
        FaultsEnd = random.Next(8) == 0 ? 0 : random.Next(2_000, 90_000);
        Faults = FaultsEnd == 0 ? 0 : random.Next(1, random.Next(2, 24));
        // Each schedule knows only some kinds of faults: a mixture of all of them would hide what two of them do together.
        Kinds = FaultsEnd == 0 ? [] : [.. Enum.GetValues<Fault>().Where(_ => random.Next(3) == 0)];
        if (full)
            Kinds = [.. Kinds.Where(kind => kind is not (Fault.Ban or Fault.Drain))];
        Exact = full;
        BudgetLimit = privacy && !full && random.Next(4) == 0 ? random.Next(0, settings.Rounds + 2) : int.MaxValue;
        StopAt = !full && random.Next(8) == 0 ? random.Next(40_000) : null;
        KilledAfterStop = StopAt is not null && random.Next(2) == 0 ? random.Next(300) : null;
        Fickle = !full && random.Next(3) == 0;
        SlowestTraining = random.Next(100, 6_000);
    }

    public int Number { get; }

    public int Sites { get; }

    public FederatedRun Run { get; }

    /// <summary>From here on nothing breaks any more, and everything mends.</summary>
    public long FaultsEnd { get; }

    public int Faults { get; }

    public IReadOnlyList<Fault> Kinds { get; }

    /// <summary>Every round needs everybody's update, so the last model must be that of the undisturbed run.</summary>
    public bool Exact { get; }

    /// <summary>Attempts the privacy budget pays for.</summary>
    public int BudgetLimit { get; }

    public long? StopAt { get; }

    /// <summary>A coordinator that dies a moment after somebody asked it to stop.</summary>
    public long? KilledAfterStop { get; }

    /// <summary>Sites that train the same round twice get another update the second time.</summary>
    public bool Fickle { get; }

    public int SlowestTraining { get; }

    public bool Has(Fault kind) => Kinds.Contains(kind);
}
