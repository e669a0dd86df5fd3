using Sora.Protocol.Api;
using Sora.Protocol.Jobs;
using Sora.Protocol.Runs;

namespace Sora.Protocol.Generations;

// A step whose loss or gradient is not finite: the training has diverged, or somebody's device is broken. Nobody commits such a
// step, so it can be evaluated once more, with the lanes dealt otherwise, and then it is known which of the two it is.
public static partial class CoordinatorProtocol
{
    // Another deal cannot always take every lane out of the hands it was in.
    private const int EvaluationsBeforeGivingUp = 3;
    private const int EvaluationsAlone = 2;

    private static void HearNotFinite(Turn turn, WorkerState worker, Halted halted)
    {
        if (turn.State.LastStep > halted.Step)
        {
            // The others have committed it, with the same bytes from the exchange.
            Bar(turn, worker.Process, AloneReason(halted.Step));
            return;
        }
        var fault = new RunFault(worker.Id, $"{Capital(worker)} failed after step {turn.State.LastStep}: {halted.Reason}", ExitCode.Diverged);
        var generation = turn.State.Generation!;
        var doubt = turn.State.Doubt is { } known && known.Step == halted.Step ? known : new StepDoubt(halted.Step) { Fault = fault };
        if (doubt.Generation != generation.Number)
            doubt = doubt with { Generation = generation.Number, Evaluations = doubt.Evaluations + 1, Fault = fault, Reporters = [] };
        var owned = generation.Members.First(member => member.Worker == worker.Id).Lanes;
        turn.State = turn.State with
        {
            Doubt = doubt.Heard(worker.Process, owned, halted.Lanes.Select(lane => (int)lane).ToHashSet()) with { Reporters = doubt.Reporters.Add(worker.Process) },
        };
    }

    /// <summary>The generation in force has committed the step that was in doubt.</summary>
    private static void ResolveDoubt(Turn turn)
    {
        if (turn.State.Doubt is not { } doubt || turn.State.LastStep <= doubt.Step)
            return;
        turn.State = turn.State with { Doubt = null };
        var wrong = doubt.Reporters.ToDictionary(process => process, _ => AloneReason(doubt.Step));
        if (doubt.Generation != turn.State.Generation!.Number)
        {
            foreach (var (worker, lanes) in turn.State.Generation.Members)
                doubt = turn.State.Workers.TryGetValue(worker, out var owner) ? doubt.Heard(owner.Process, lanes, new HashSet<int>()) : doubt;
            wrong = Wrong(doubt);
        }
        BarAll(turn, wrong);
        if (wrong.Count == 0)
            turn.Do(new Publish(new RunWarning($"Step {doubt.Step} is finite this time; the run goes on. If that happens again, look at memory and devices.")));
    }

    /// <summary>All members of a generation have halted.</summary>
    /// <returns>Whether it ended because of a step in doubt.</returns>
    private static bool JudgeDoubt(Turn turn)
    {
        if (turn.State.Doubt is not { } doubt || doubt.Generation != turn.State.Generation!.Number)
            return false;
        var alone = turn.State.Generation.Members.Length == 1;
        if (doubt.AnyWrong)
        {
            turn.State = turn.State with { Doubt = null };
            BarAll(turn, Wrong(doubt));
        }
        else if (doubt.IsConfirmed || doubt.Evaluations >= (alone ? EvaluationsAlone : EvaluationsBeforeGivingUp))
        {
            Fail(turn, doubt.Fault);
        }
        else
        {
            DistrustSuspects(turn, doubt);
            if (doubt.Evaluations == 1)
                turn.Do(new Publish(new RunWarning(
                $"Step {doubt.Step}: loss or gradient are not finite{Where(turn, doubt)}. The step was not applied. It is evaluated once more{(alone ? "" : ", with the lanes in other hands")}, to see whether a device is broken or the training diverges.")));
        }
        return true;
    }

    /// <summary>It may be their state that is damaged: they take that of the others, if there are any, and nobody takes theirs.</summary>
    private static void DistrustSuspects(Turn turn, StepDoubt doubt)
    {
        var holders = turn.Workers.Where(worker => worker.Stage == WorkerStage.Waiting && worker.TrustedStep == doubt.Step).ToList();
        var suspects = holders.FindAll(worker => doubt.NotFinite.Values.Any(processes => processes.Contains(worker.Process)));
        if (suspects.Count == holders.Count)
            return;
        foreach (var suspect in suspects)
            turn.Update(suspect with { Distrusted = true });
    }

    /// <summary>While a step is in doubt, the order of members that leaves the fewest doubtful lanes with who had them.</summary>
    private static List<WorkerState> InOtherHands(Turn turn, List<WorkerState> members)
    {
        if (turn.State.Doubt is not { } doubt)
            return members;
        // What may have been nobody's fault is dealt otherwise too: the order that everybody had comes last.
        return Enumerable.Range(1, members.Count)
            .Select(shift => members.Skip(shift % members.Count).Concat(members.Take(shift % members.Count)).ToList())
            .MinBy(order => Enumerable.Range(0, order.Count).Sum(rank =>
            {
                var lanes = LaneRange.OfWorker(rank, order.Count, turn.Spec.Lanes);
                return Enumerable.Range(lanes.First, lanes.Count).Count(lane => doubt.NotFinite.TryGetValue(lane, out var owners) && owners.Contains(order[rank].Process));
            }))!;
    }

    /// <summary>Puts a process out for the rest of the run, whether it is here or not.</summary>
    private static void Bar(Turn turn, WorkerProcess process, string reason)
    {
        if (turn.State.Barred.ContainsKey(process))
            return;
        turn.State = turn.State with { Barred = turn.State.Barred.SetItem(process, reason) };
        turn.Do(new RecordDecision(new WorkerBarred(process, reason)));
        if (!turn.State.Workers.TryGetValue(process.Worker, out var worker) || worker.Process != process)
            return;
        turn.Tell(worker.Id, Goodbye(reason, ExitCode.Failure));
        PutOut(turn, worker, reason);
    }

    private static void BarAll(Turn turn, Dictionary<WorkerProcess, string> wrong)
    {
        foreach (var (process, reason) in wrong.OrderBy(entry => entry.Key.Worker, StringComparer.Ordinal).ThenBy(entry => entry.Key.Incarnation, StringComparer.Ordinal))
            Bar(turn, process, reason);
    }

    private static Dictionary<WorkerProcess, string> Wrong(StepDoubt doubt) => doubt.NotFinite.Values.SelectMany(processes => processes).Distinct()
        .Select(process => (Process: process, Lanes: doubt.WrongLanesOf(process)))
        .Where(found => found.Lanes.Count > 0)
        .ToDictionary(found => found.Process, found =>
            $"its device computes wrongly: at step {doubt.Step} loss or gradient of {Lanes(found.Lanes)} were not finite there, and finite on another worker. Check device, memory and driver before using it again.");

    private static string AloneReason(long step) =>
        $"its device computes wrongly: it alone found loss or gradient of step {step} not finite. Check device, memory and driver before using it again.";

    private static string Where(Turn turn, StepDoubt doubt)
    {
        var found = turn.Workers
            .Select(worker => (Worker: worker, Lanes: doubt.NotFinite.Where(lane => lane.Value.Contains(worker.Process)).Select(lane => lane.Key).ToList()))
            .Where(owner => owner.Lanes.Count > 0)
            .Select(owner => $"{Lanes(owner.Lanes)} ({owner.Worker})")
            .ToList();
        return found.Count == 0 ? "" : $" in {string.Join(" and ", found)}";
    }

    private static string Lanes(IReadOnlyList<int> lanes) => $"{(lanes.Count == 1 ? "lane" : "lanes")} {string.Join(", ", lanes)}";
}
