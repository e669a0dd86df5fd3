using Sora.Protocol.Api;
using Sora.Protocol.Jobs;
using Sora.Protocol.Runs;

namespace Sora.Protocol.Generations;

// Stragglers: every step takes as long as its slowest member. Heartbeats tell what a lane costs each of them.
public static partial class CoordinatorProtocol
{
    // Weight of the newest measurement; older ones fade.
    private const double NewestShare = 0.3;

    // Moving lanes costs everybody a halt, so another deal must promise at least this much.
    private const double WorthMoving = 1.15;

    private static void HearPace(Turn turn, WorkerState worker, Heartbeat beat)
    {
        var known = turn.State.Generation is { } current && (long)beat.Generation == current.Number && worker.InGeneration;
        if (turn.State.Phase != RunPhase.Running || !known || beat.Steps == 0 || turn.Spec.Straggler == StragglerPolicy.Ignore)
            return;
        var lanes = turn.State.Generation!.Members.First(member => member.Worker == worker.Id).Lanes.Count;
        var measured = beat.ComputeSeconds / beat.Steps / lanes;
        var seconds = worker.SecondsPerLane == 0 ? measured : worker.SecondsPerLane + NewestShare * (measured - worker.SecondsPerLane);
        worker = worker with { SecondsPerLane = seconds };
        turn.Update(worker);
        var members = turn.Workers.Where(member => member.InGeneration).ToList();
        if (members.Count < 2 || members.Exists(member => member.SecondsPerLane == 0))
            return;
        var elapsed = beat.ComputeSeconds + beat.WaitSeconds;
        NameSlow(turn, worker, members, elapsed);
        Compare(turn, members, elapsed / members.Count);
    }

    private static void NameSlow(Turn turn, WorkerState worker, List<WorkerState> members, double elapsed)
    {
        var median = Median(members.Where(member => member.Id != worker.Id).Select(member => member.SecondsPerLane));
        var slow = worker.SecondsPerLane > turn.Spec.StragglerFactor * median;
        worker = worker with { SlowSeconds = slow ? worker.SlowSeconds + elapsed : 0, NamedSlow = slow && worker.NamedSlow };
        if (slow && !worker.NamedSlow && worker.SlowSeconds >= turn.Spec.StragglerSeconds)
        {
            worker = worker with { NamedSlow = true };
            turn.Do(new Publish(new RunWarning(FormattableString.Invariant(
                $"{Capital(worker)} is slow: a lane takes it {worker.SecondsPerLane:0.###} s, the others {median:0.###} s; every step waits for it. Look for other programs, heat or a slow disk there{(turn.Spec.Straggler == StragglerPolicy.Replace ? "" : ", or set straggler: replace to move lanes away from it")}."))));
        }
        turn.Update(worker);
    }

    /// <summary>Counts for how long another deal would have been better. Who has become fast again gets its lanes back by the same rule.</summary>
    private static void Compare(Turn turn, List<WorkerState> members, double elapsed)
    {
        if (turn.Spec.Straggler != StragglerPolicy.Replace)
            return;
        var now = turn.State.Generation!.Members.Max(member => member.Lanes.Count * turn.State.Workers[member.Worker].SecondsPerLane);
        var best = LaneRange.ByPace([.. members.Select(member => member.SecondsPerLane)], turn.Spec.Lanes)
            .Zip(members).Max(deal => deal.First.Count * deal.Second.SecondsPerLane);
        turn.State = turn.State with { UnevenSeconds = now > WorthMoving * best ? turn.State.UnevenSeconds + elapsed : 0 };
    }

    private static bool Uneven(Turn turn) => turn.State.UnevenSeconds > turn.Spec.StragglerSeconds;

    /// <summary>Equal shares, or in proportion to speed where that is asked for and known of everybody.</summary>
    private static IReadOnlyList<LaneRange> Deal(Turn turn, List<WorkerState> members) =>
        turn.Spec.Straggler == StragglerPolicy.Replace && turn.State.Doubt is null && members.TrueForAll(member => member.SecondsPerLane > 0)
            ? LaneRange.ByPace([.. members.Select(member => member.SecondsPerLane)], turn.Spec.Lanes)
            : [.. Enumerable.Range(0, members.Count).Select(rank => LaneRange.OfWorker(rank, members.Count, turn.Spec.Lanes))];

    private static double Median(IEnumerable<double> values)
    {
        var sorted = values.Order().ToList();
        return (sorted[(sorted.Count - 1) / 2] + sorted[sorted.Count / 2]) / 2;
    }
}
