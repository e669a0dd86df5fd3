using System.Collections.Immutable;

namespace Sora.Protocol.Generations;

/// <summary>
/// A step whose loss or gradient was not finite, and what is known of its lanes. A lane's gradient is a pure function of the
/// step, so whoever evaluates it next is a witness: one that finds it finite proves the one before wrong.
/// </summary>
/// <param name="Step">Steps committed before it.</param>
public sealed record StepDoubt(long Step)
{
    /// <summary>The last generation that came as far as this step.</summary>
    public long Generation { get; init; }

    /// <summary>How many generations did.</summary>
    public int Evaluations { get; init; }

    /// <summary>What to end the run with if it is true.</summary>
    public required RunFault Fault { get; init; }

    /// <summary>Who said in the last of them that the step is not finite.</summary>
    public ImmutableHashSet<WorkerProcess> Reporters { get; init; } = [];

    /// <summary>By lane, in whose hands it was not finite.</summary>
    public ImmutableSortedDictionary<int, ImmutableHashSet<WorkerProcess>> NotFinite { get; init; } = NoWitnesses;

    /// <summary>By lane, in whose hands it was finite.</summary>
    public ImmutableSortedDictionary<int, ImmutableHashSet<WorkerProcess>> Finite { get; init; } = NoWitnesses;

    /// <summary>A lane is not finite whoever evaluates it.</summary>
    public bool IsConfirmed => NotFinite.Any(lane => lane.Value.Count > 1 && !Finite.ContainsKey(lane.Key));

    /// <summary>Somebody has been proved wrong.</summary>
    public bool AnyWrong => NotFinite.Any(lane => lane.Value.Any(process => IsWrongIn(lane.Key, process)));

    private static ImmutableSortedDictionary<int, ImmutableHashSet<WorkerProcess>> NoWitnesses { get; } =
        ImmutableSortedDictionary<int, ImmutableHashSet<WorkerProcess>>.Empty;

    /// <summary>Lanes that were not finite in this process's hands, and finite in another's.</summary>
    public IReadOnlyList<int> WrongLanesOf(WorkerProcess process) => [.. NotFinite.Keys.Where(lane => IsWrongIn(lane, process))];

    /// <summary>Takes a process's word for the lanes it owned.</summary>
    public StepDoubt Heard(WorkerProcess process, LaneRange owned, IReadOnlySet<int> notFinite)
    {
        var (bad, good) = (NotFinite, Finite);
        for (var lane = owned.First; lane < owned.End; lane++)
            (bad, good) = notFinite.Contains(lane) ? (Add(bad, lane, process), good) : (bad, Add(good, lane, process));
        return this with { NotFinite = bad, Finite = good };
    }

    private bool IsWrongIn(int lane, WorkerProcess process) =>
        NotFinite[lane].Contains(process) && Finite.TryGetValue(lane, out var others) && others.Any(other => other != process);

    private static ImmutableSortedDictionary<int, ImmutableHashSet<WorkerProcess>> Add(
        ImmutableSortedDictionary<int, ImmutableHashSet<WorkerProcess>> witnesses, int lane, WorkerProcess process) =>
        witnesses.SetItem(lane, witnesses.GetValueOrDefault(lane, []).Add(process));
}
