using System.Collections.Immutable;
using Sora.Protocol.Api;
using Sora.Protocol.Jobs;
using Sora.Protocol.Runs;

namespace Sora.Protocol.Generations;

// From enough workers to the next generation: who, which lanes, from which step, and where the state comes from.
public static partial class CoordinatorProtocol
{
    // So many generations in a row may come to nothing before those who cannot work with the others are kept out.
    private const int FruitlessBeforeQuarantine = 2;

    private static void ReconsiderGathering(Turn turn)
    {
        if (WorkIsDone(turn))
        {
            Conclude(turn);
            return;
        }
        if (turn.State.StopReason.Length > 0)
        {
            if (turn.State.LastGeneration == 0)
                EndStopped(turn);
            else
                BeginSaving(turn);
            return;
        }
        FillPlaces(turn);
        if (!Judge(turn) || turn.State.BackingOff || WorthWaiting(turn))
            return;
        LetDrainingGo(turn);
        if (turn.State.Phase != RunPhase.Gathering)
            return;
        if (!Enough(turn))
        {
            AnnounceWait(turn);
            return;
        }
        turn.State = turn.State with { Phase = RunPhase.Forming, WaitAnnounced = false };
        turn.Do(new DrawSecret(turn.State.LastGeneration + 1));
    }

    private static IEnumerable<WorkerState> Able(Turn turn) =>
        turn.Workers.Where(worker => worker is { Stage: WorkerStage.Waiting, Linked: true, Draining: false } && !turn.State.Quarantined.Contains(worker.Id));

    private static bool Enough(Turn turn)
    {
        var able = Able(turn).Count();
        if (turn.State.LastGeneration > 0)
            return able >= Math.Max(1, turn.Spec.MinWorkers);
        var stillComing = turn.Workers.Any(worker => worker.Stage is WorkerStage.Assigned or WorkerStage.Proven);
        return !stillComing && (able >= Wanted(turn) || (turn.State.PatienceOver && able >= Math.Max(1, turn.Spec.StartWorkers)));
    }

    private static void AnnounceWait(Turn turn)
    {
        if (turn.State.WaitAnnounced || turn.State.LastGeneration == 0)
            return;
        turn.State = turn.State with { WaitAnnounced = true };
        turn.Do(new Publish(new RunWaiting(Able(turn).Count(), Math.Max(1, turn.Spec.MinWorkers), turn.State.LastStep)));
    }

    /// <summary>
    /// Workers that want to leave may go as soon as a worker that stays holds their state. Until then they hand it over: the last
    /// holder becomes a member once more, so that the others can take the state from it, or writes a checkpoint when there is
    /// nobody to take it.
    /// </summary>
    private static void LetDrainingGo(Turn turn)
    {
        var draining = turn.Workers.Where(worker => worker is { Draining: true, Stage: WorkerStage.Waiting }).ToList();
        if (draining.Count == 0)
            return;
        var highest = HighestHeld(turn);
        var stays = highest < 0 || Able(turn).Any(worker => worker.TrustedStep == highest) || turn.State.Checkpoint?.Step >= highest;
        foreach (var worker in draining.Where(worker => stays || worker.TrustedStep < highest))
            Release(turn, worker);
        if (!stays && !Enough(turn))
            BeginSaving(turn);
    }

    private static void Release(Turn turn, WorkerState worker)
    {
        turn.Do(new Publish(new WorkerLeft(worker.Id, "it was told to end and has handed over.")));
        turn.Dismiss(worker, "its work is handed over", ExitCode.Ok);
    }

    /// <summary>The highest step a worker at a boundary holds; -1: nobody holds any.</summary>
    private static long HighestHeld(Turn turn) =>
        turn.Workers.Where(worker => worker is { Stage: WorkerStage.Waiting, Linked: true }).Select(worker => worker.TrustedStep).DefaultIfEmpty(-1).Max();

    private static void Form(Turn turn, SecretDrawn drawn)
    {
        if (turn.State.Phase != RunPhase.Forming || drawn.Generation != turn.State.LastGeneration + 1)
            return;
        if (!Enough(turn) || WorthWaiting(turn))
        {
            turn.State = turn.State with { Phase = RunPhase.Gathering };
            return;
        }
        var (highest, saved) = (HighestHeld(turn), SavedStep(turn));
        // One step is computed again sooner than a checkpoint is read; many, held by somebody who slept for long, are not.
        var firstStep = highest >= 0 && highest >= saved - 1 ? highest : saved;
        var members = InOtherHands(turn, Choose(turn, firstStep));
        var plan = new GenerationPlan(
            drawn.Generation,
            [.. members.Zip(Deal(turn, members), (worker, lanes) => new GenerationMember(worker.Id, lanes))],
            firstStep);

        turn.State = turn.State with { Phase = RunPhase.Joining, Generation = plan, LastGeneration = plan.Number, LastStep = firstStep, HaltAtOnce = false, Hashes = CoordinatorState.NoHashes, Healing = false, UnevenSeconds = 0, Doubt = turn.State.Doubt?.Step < firstStep ? null : turn.State.Doubt };
        turn.Do(new RecordDecision(new GenerationDecided(plan, turn.State.Reference!, turn.State.NumericsDiffer)));
        turn.Do(new Publish(new GenerationFormed(plan.Number, [.. members.Select(worker => worker.Id)], plan.FirstStep)));
        turn.Do(new CancelTimer(RunTimer.Arrival));
        turn.Do(new SetTimer(RunTimer.Readiness));
        var message = new FromCoordinator { Generation = Announcement(turn, plan, members, drawn.Secret) };
        foreach (var worker in members)
        {
            turn.Update(worker with { Stage = WorkerStage.Joining, WeightsSha256 = "", SlowSeconds = 0 });
            turn.Tell(worker.Id, message);
        }
    }

    /// <summary>Holders of the state first, so that as little as possible travels; in the order of ids.</summary>
    private static List<WorkerState> Choose(Turn turn, long firstStep)
    {
        var holders = turn.Workers.Where(worker => worker is { Stage: WorkerStage.Waiting, Linked: true } && worker.TrustedStep == firstStep).ToList();
        // Only the last evaluation and checkpoint are missing: whoever holds the state has them done before it could hand it over.
        if (firstStep == turn.Spec.MaxSteps && holders.Count > 0)
            return [.. holders.OrderBy(worker => worker.Id, StringComparer.Ordinal).Take(Wanted(turn))];
        var chosen = Able(turn).OrderByDescending(worker => worker.TrustedStep).ThenBy(worker => worker.Id, StringComparer.Ordinal).Take(Wanted(turn)).ToList();
        if (holders.Count > 0 && chosen.TrueForAll(worker => worker.TrustedStep < firstStep))
        {
            if (chosen.Count == Wanted(turn))
                chosen.RemoveAt(chosen.Count - 1);
            chosen.Add(holders[0]);
        }
        return [.. chosen.OrderBy(worker => worker.Id, StringComparer.Ordinal)];
    }

    private static Generation Announcement(Turn turn, GenerationPlan plan, List<WorkerState> members, Google.Protobuf.ByteString secret)
    {
        var holders = Enumerable.Range(0, members.Count).Where(rank => members[rank].TrustedStep == plan.FirstStep).Select(rank => (uint)rank).ToList();
        var message = new Generation
        {
            Run = turn.Spec.Run,
            Generation_ = (ulong)plan.Number,
            FirstStep = (ulong)plan.FirstStep,
            Secret = secret,
            Holders = { holders },
            RestoreFrom = holders.Count == 0 ? turn.State.Checkpoint?.Path ?? "" : "",
            ReportedStep = turn.State.LastReport,
            EvaluatedStep = turn.State.LastEvaluation,
            SavedStep = turn.State.Checkpoint?.Step ?? -1,
        };
        foreach (var (worker, member) in members.Zip(plan.Members))
            message.Members.Add(new Member { Worker = worker.Id, FirstLane = (uint)member.Lanes.First, LaneCount = (uint)member.Lanes.Count, Endpoints = { worker.Endpoints } });
        return message;
    }

    private static void HearReady(Turn turn, WorkerState worker, Ready ready)
    {
        if (worker.Stage == WorkerStage.Joining && Concerns(turn.State, ready.Run, ready.Generation))
            turn.Update(worker with { Stage = WorkerStage.Training, HeldStep = (long)ready.Step, Distrusted = false });
    }

    /// <summary>Remembers whom a member could not work with.</summary>
    private static void Accuse(Turn turn, WorkerState accuser, IEnumerable<string> suspects)
    {
        foreach (var suspect in suspects.Where(suspect => suspect != accuser.Id && turn.State.Workers.ContainsKey(suspect)))
        {
            var accusers = turn.State.Accusers.GetValueOrDefault(suspect, ImmutableSortedSet.Create<string>(StringComparer.Ordinal)).Add(accuser.Id);
            turn.State = turn.State with { Accusers = turn.State.Accusers.SetItem(suspect, accusers) };
        }
    }

    /// <summary>After a generation: did it achieve anything? If several in a row did not, something must be different next time.</summary>
    private static void LearnFromGeneration(Turn turn)
    {
        if (turn.State.LastStep > turn.State.Generation?.FirstStep)
        {
            turn.State = turn.State with { Fruitless = 0 };
            return;
        }
        turn.State = turn.State with { Fruitless = turn.State.Fruitless + 1 };
        if (turn.State.Fruitless < FruitlessBeforeQuarantine)
            return;
        turn.State = turn.State with { BackingOff = true };
        turn.Do(new SetTimer(RunTimer.Backoff));
        if (Able(turn).Count() <= Math.Max(1, turn.Spec.MinWorkers) || MostEstranged(turn) is not { } worst)
            return;
        turn.State = turn.State with { Quarantined = turn.State.Quarantined.Add(worst.Worker), Accusers = CoordinatorState.NoAccusers };
        turn.Do(new SetTimer(RunTimer.Quarantine));
        turn.Do(new Publish(new RunWarning(
            $"{Capital(turn.State.Workers[worst.Worker])} is left out for a while: it and {string.Join(", ", worst.Others)} cannot exchange gradients. Check the network between them.")));
    }

    /// <summary>
    /// The worker in most of the pairs that cannot work with each other, whoever of a pair said so: one that nobody's bytes reach
    /// accuses all others, before any of these notices that it waits for that one. Of two that only accuse each other, the more
    /// accused, then the last by id: somebody has to go, and every coordinator must choose the same.
    /// </summary>
    private static (string Worker, IReadOnlyCollection<string> Others)? MostEstranged(Turn turn)
    {
        var pairs = new SortedDictionary<string, SortedSet<string>>(StringComparer.Ordinal);
        foreach (var (suspect, accusers) in turn.State.Accusers.Where(entry => Counts(entry.Key)))
        {
            foreach (var accuser in accusers.Where(Counts))
            {
                Others(suspect).Add(accuser);
                Others(accuser).Add(suspect);
            }
        }
        return pairs.Count == 0
            ? null
            : pairs.OrderBy(pair => pair.Value.Count).ThenBy(pair => turn.State.Accusers.GetValueOrDefault(pair.Key)?.Count ?? 0)
                .ThenBy(pair => pair.Key, StringComparer.Ordinal).Select(pair => (pair.Key, (IReadOnlyCollection<string>)pair.Value)).Last();

        bool Counts(string worker) => turn.State.Workers.GetValueOrDefault(worker) is { Linked: true } && !turn.State.Quarantined.Contains(worker);
        SortedSet<string> Others(string worker) => pairs.TryGetValue(worker, out var others) ? others : pairs[worker] = new SortedSet<string>(StringComparer.Ordinal);
    }
}
