using System.Collections.Immutable;
using Sora.Protocol.Api;
using Sora.Protocol.Jobs;
using Sora.Protocol.Runs;

namespace Sora.Protocol.Generations;

// Silent corruption: replicas that must be equal and are not. What an odd one holds counts for nothing, so that in the next
// generation it takes the state of the others, as any newcomer does.
public static partial class CoordinatorProtocol
{
    // A machine that corrupts memory twice will do so a third time.
    private const int CorruptionsBeforePuttingOut = 2;
    private const int StepsRemembered = 4;

    private static void HearStateHash(Turn turn, WorkerState worker, StateHash told)
    {
        if (!worker.InGeneration || !Concerns(turn.State, told.Run, told.Generation))
            return;
        var step = (long)told.Step;
        var ofStep = turn.State.Hashes.GetValueOrDefault(step, ImmutableSortedDictionary.Create<string, string>(StringComparer.Ordinal)).SetItem(worker.Id, told.Hash);
        var members = turn.State.Generation!.Members;
        if (ofStep.Count < members.Length)
        {
            var hashes = turn.State.Hashes.SetItem(step, ofStep);
            turn.State = turn.State with { Hashes = hashes.Count > StepsRemembered ? hashes.Remove(hashes.Keys.First()) : hashes };
            return;
        }
        turn.State = turn.State with { Hashes = turn.State.Hashes.RemoveRange(turn.State.Hashes.Keys.Where(known => known <= step)) };
        var groups = ofStep.GroupBy(entry => entry.Value).OrderByDescending(group => group.Count()).ToList();
        if (groups.Count > 1)
            Distrust(turn, step, groups.ConvertAll(group => group.Select(entry => entry.Key).ToList()));
    }

    private static void Distrust(Turn turn, long step, List<List<string>> groups)
    {
        var undecided = groups[0].Count == groups[1].Count;
        var odd = groups.Skip(undecided ? 0 : 1).SelectMany(group => group).Select(id => turn.State.Workers.GetValueOrDefault(id)).OfType<WorkerState>().ToList();
        turn.Do(new Publish(new RunWarning(undecided
            ? $"After step {step} the replicas differ and there is no majority to tell who is right ({string.Join(" against ", groups.Select(group => string.Join(", ", group)))}). The run goes back to the last checkpoint."
            : $"After step {step} {string.Join(" and ", odd)} {(odd.Count == 1 ? "holds" : "hold")} other weights or optimizer state than the majority: memory or device is faulty. The state is taken from the others; steps computed since the fault came may be affected.")));
        foreach (var worker in odd)
        {
            var distrusted = worker with { Distrusted = true, Corruptions = worker.Corruptions + (undecided ? 0 : 1) };
            turn.Update(distrusted);
            if (distrusted.Corruptions < CorruptionsBeforePuttingOut)
                continue;
            var reason = $"its state differed from the others' {distrusted.Corruptions} times. Check its memory and device before using it again.";
            Bar(turn, worker.Process, reason);
        }
        turn.State = turn.State with { Healing = true };
    }
}
