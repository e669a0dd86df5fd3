using Sora.Protocol.Generations;

namespace Sora.Protocol.Tests.Simulation;

/// <summary>What a seed decides before anything happens: the run, its size, and which faults there will be.</summary>
internal sealed class Schedule
{
    public Schedule(int number, Random random)
    {
        Number = number;
        Seed = (ulong)number;
        // Most faults need few workers to show, and few are quick to play.
        var large = random.Next(80) == 0;
        Workers = large ? random.Next(9, 65) : random.Next(1, 9);
        Coordinators = random.Next(1, 4);
        var most = Workers + random.Next(3);
        Spec = new RunSpec
        {
            Run = $"run-{number}",
            Workers = most,
            StartWorkers = random.Next(1, Workers + 1),
            MinWorkers = random.Next(1, Math.Min(Workers, 3) + 1),
            Lanes = random.Next(Workers, most + 6),
            MaxSteps = large ? random.Next(3, 6) : random.Next(3, 16),
            OutputDir = "/output",
        };
        EvaluateEvery = random.Next(0, 4);
        SaveEvery = random.Next(0, 5);
        _slowestStep = random.Next(50, 1_500);
        FaultsEnd = random.Next(8) == 0 ? 0 : random.Next(2_000, 40_000);
        Faults = FaultsEnd == 0 ? 0 : random.Next(1, random.Next(2, 16));
        HazardRate = FaultsEnd == 0 || random.Next(2) == 0 ? 0 : random.NextDouble() * random.NextDouble() * 0.2 / Math.Sqrt(Workers);
        // Each schedule knows only some kinds of faults: a mixture of all of them would hide what two of them do together.
        Kinds = [.. Simulation.AllFaults.Where(_ => random.Next(3) == 0)];
        if (Kinds.Count == 0)
            Kinds = [Simulation.AllFaults[random.Next(Simulation.AllFaults.Count)]];
    }

    public int Number { get; }

    public ulong Seed { get; }

    public RunSpec Spec { get; }

    public int Workers { get; }

    public int Coordinators { get; }

    public int EvaluateEvery { get; }

    public int SaveEvery { get; }

    /// <summary>From here on nothing breaks any more, and everything mends.</summary>
    public long FaultsEnd { get; }

    public int Faults { get; }

    public double HazardRate { get; }

    public IReadOnlyList<Fault> Kinds { get; }

    private readonly int _slowestStep;

    public long StepTime(Random random) => random.Next((_slowestStep / 2) + 1, _slowestStep + 1);
}
