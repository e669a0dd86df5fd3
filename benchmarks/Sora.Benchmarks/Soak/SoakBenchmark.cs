using System.Runtime.InteropServices;
using Sora.Benchmarks.Processes;
using Sora.Protocol.Runs;

namespace Sora.Benchmarks.Soak;

/// <summary>
/// One run, four workers, and a fault every 15 to 30 seconds: how much of the fault-free throughput is left, and whether
/// anything of it can be seen in the result. The fault-free rates of one to five workers are measured in the same run, before
/// and after; an undisturbed run of as many steps is made afterwards and compared step by step.
/// </summary>
internal static class SoakBenchmark
{
    private const int Workers = 4;
    private const int LeastSteps = 8; // of which a rate is made
    private static readonly TimeSpan Patience = TimeSpan.FromMinutes(3);

    public static async Task<int> RunAsync(string[] arguments)
    {
        var minutes = arguments.Length > 0 ? double.Parse(arguments[0]) : 30;
        var seed = arguments.Length > 1 ? int.Parse(arguments[1]) : 1;
        using var stop = new CancellationTokenSource();
        using var interrupt = PosixSignalRegistration.Create(PosixSignal.SIGINT, Stop);
        using var terminate = PosixSignalRegistration.Create(PosixSignal.SIGTERM, Stop);
        using var hangUp = PosixSignalRegistration.Create(PosixSignal.SIGHUP, Stop);
        SoraProgram.Build();
        var folder = Directory.CreateTempSubdirectory("sora-soak-").FullName;
        var whole = false;
        try
        {
            var seen = await DisturbedAsync(folder, minutes, seed, stop.Token);
            Progress($"the run is stopped at step {seen.LastStep}; an undisturbed one of as many steps follows");
            var undisturbed = await UndisturbedAsync(folder, seen.LastStep, stop.Token);
            whole = SoakReport.Print(seen, undisturbed, minutes, seed);
            return whole ? 0 : 1;
        }
        catch (OperationCanceledException) when (stop.IsCancellationRequested)
        {
            Progress("stopped; all processes are ended");
            return 130;
        }
        finally
        {
            if (whole || stop.IsCancellationRequested)
                Directory.Delete(folder, recursive: true);
            else
                Progress($"logs and results are left in {folder}");
        }

        void Stop(PosixSignalContext context)
        {
            context.Cancel = true;
            stop.Cancel();
        }
    }

    private static async Task<SoakSeen> DisturbedAsync(string folder, double minutes, int seed, CancellationToken cancellationToken)
    {
        using var fleet = new Fleet(folder);
        var timeline = new RunTimeline();
        var output = Path.Combine(folder, "disturbed");
        using var run = SoraProgram.Start(Path.Combine(folder, "logs", "train.log"), line =>
        {
            timeline.Take(line);
            if (RunEventJson.Read(line) is WorkerJoined joined)
                fleet.LetIn(joined.ProcessId);
        }, ["train", WriteJob(folder, 1_000_000), .. fleet.Coordinator, "--workers", "1:5", "--output", output, "--json"]);

        // All first: a run waits long for the workers it may have, and begins at once when they are there.
        var seconds = Math.Clamp(minutes, 3, 30);
        var before = new List<FaultFreeRate>();
        foreach (var workers in (int[])[5, 4, 3, 2, 1])
            before.Add(await RateAsync(fleet, timeline, workers, seconds, cancellationToken));
        await MembersAsync(fleet, timeline, Workers, cancellationToken);
        await Task.Delay(TimeSpan.FromSeconds(5), cancellationToken);

        var (from, faults) = (RunTimeline.Now, new List<FaultDone>());
        var deck = new FaultDeck(seed);
        for (var next = from + deck.Interval(); next < from + minutes * 60 - 15; next += deck.Interval())
        {
            await Task.Delay(TimeSpan.FromSeconds(Math.Max(0, next - RunTimeline.Now)), cancellationToken);
            if (Do(deck, fleet) is not { } fault)
                continue;
            faults.Add(fault);
            Progress(FormattableString.Invariant($"{fault.Time - from,6:0} s, step {timeline.All<StepCommitted>()[^1].Event.Step}: {fault.Kind}"));
            if (run.HasEnded)
                throw new InvalidOperationException($"sora train ended with exit code {run.ExitCode} in the midst of it.");
        }
        await Task.Delay(TimeSpan.FromSeconds(Math.Max(0, from + minutes * 60 - RunTimeline.Now)), cancellationToken);
        var to = RunTimeline.Now;

        var after = new List<FaultFreeRate>();
        fleet.Remove(Name(Workers));
        foreach (var workers in (int[])[4, 1, 2, 3, 5])
            after.Add(await RateAsync(fleet, timeline, workers, seconds, cancellationToken));
        var unasked = fleet.UnaskedEnds; // the end of the run is also the end of its workers
        run.Send(ChildProcess.Signal.Terminate);
        var stopped = await timeline.WaitAsync<RunStopped>(_ => true, 0, Patience, cancellationToken);
        await run.Ended.WaitAsync(Patience, cancellationToken);
        var weights = timeline.All<CheckpointSaved>().LastOrDefault(saved => saved.Event.Step == stopped.Event.Step).Event?.WeightsSha256;
        return new SoakSeen
        {
            From = from,
            To = to,
            Timeline = timeline,
            Faults = faults,
            Before = before,
            After = after,
            Live = fleet.LiveSchedule,
            Started = fleet.StartedSchedule,
            StartCosts = fleet.StartCosts,
            UnaskedEnds = unasked,
            LastStep = stopped.Event.Step,
            Losses = RunTimeline.Losses(output),
            WeightsSha256 = weights ?? "",
        };
    }

    /// <returns>What was done; null when nobody is there to whom it could be.</returns>
    private static FaultDone? Do(FaultDeck deck, Fleet fleet)
    {
        var (kind, live, now) = (deck.Next(), fleet.Live, RunTimeline.Now);
        var extra = Name(Workers);
        if (live.Count == 0 && kind is Fault.Kill or Fault.Pause or Fault.Drain)
            return null;
        switch (kind)
        {
            case Fault.Kill:
                fleet.Kill(deck.Choose(live));
                break;
            case Fault.Pause:
                _ = fleet.PauseAsync(deck.Choose(live), TimeSpan.FromSeconds(deck.PauseLength()));
                break;
            // Who joined leaves again some time: as many joins as drains that nobody comes back from.
            case Fault.Drain when live.Contains(extra):
                fleet.Remove(extra);
                break;
            case Fault.Drain:
                fleet.Drain(deck.Choose(live));
                break;
            case Fault.Join when live.Contains(extra):
                kind = Fault.Drain;
                fleet.Remove(extra);
                break;
            case Fault.Join:
                fleet.Add(extra);
                break;
            case Fault.Coordinator:
                fleet.KillCoordinator();
                break;
        }
        return new FaultDone(now, kind);
    }

    private static async Task<FaultFreeRate> RateAsync(Fleet fleet, RunTimeline timeline, int workers, double seconds, CancellationToken cancellationToken)
    {
        await MembersAsync(fleet, timeline, workers, cancellationToken);
        await Task.Delay(TimeSpan.FromSeconds(5), cancellationToken);
        var from = RunTimeline.Now;
        await Task.Delay(TimeSpan.FromSeconds(workers == Workers ? 2 * seconds : seconds), cancellationToken);
        List<double> times;
        while ((times = [.. timeline.All<StepCommitted>().Select(step => step.Time).Where(time => time >= from)]).Count < LeastSteps)
            await timeline.WaitAsync<StepCommitted>(_ => true, RunTimeline.Now, Patience, cancellationToken);
        var rate = new FaultFreeRate(workers, (times.Count - 1) / (times[^1] - times[0]));
        Progress(FormattableString.Invariant($"{workers} workers, undisturbed: {rate.StepsPerSecond:0.000} steps/s"));
        return rate;
    }

    private static async Task MembersAsync(Fleet fleet, RunTimeline timeline, int workers, CancellationToken cancellationToken)
    {
        for (var index = 0; index <= Workers; index++)
        {
            if (index < workers)
                fleet.Add(Name(index));
            else
                fleet.Remove(Name(index));
        }
        while (timeline.All<GenerationFormed>() is not [.., var last] || last.Event.Workers.Count != workers)
        {
            await timeline.WaitAsync<GenerationFormed>(_ => true, RunTimeline.Now, Patience, cancellationToken);
        }
    }

    private static async Task<(IReadOnlyDictionary<long, string> Losses, string WeightsSha256)> UndisturbedAsync(string folder, long steps, CancellationToken cancellationToken)
    {
        var output = Path.Combine(folder, "undisturbed");
        var finished = "";
        using var run = SoraProgram.Start(Path.Combine(folder, "logs", "undisturbed.log"), line =>
        {
            if (RunEventJson.Read(line) is RunFinished end)
                finished = end.WeightsSha256;
        }, ["train", WriteJob(folder, steps), "--workers", $"{Math.Min(Workers, Environment.ProcessorCount)}", "--output", output, "--json"]);
        try
        {
            await run.Ended.WaitAsync(cancellationToken);
        }
        finally
        {
            // Its workers end with it when it has the time to say so.
            if (!run.HasEnded)
            {
                run.Send(ChildProcess.Signal.Terminate);
                run.Send(ChildProcess.Signal.Terminate);
                await run.Ended.WaitAsync(TimeSpan.FromSeconds(10), CancellationToken.None).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            }
        }
        return run.ExitCode == 0
            ? (RunTimeline.Losses(output), finished)
            : throw new InvalidOperationException($"The undisturbed run ended with exit code {run.ExitCode}; see {folder}/logs/undisturbed.log.");
    }

    private static string WriteJob(string folder, long steps)
    {
        var path = Path.Combine(folder, $"soak-{steps}.yaml");
        File.WriteAllText(path, $$"""
            name: soak
            data: dotnet-docs
            tokenizer: {type: bpe, vocab_size: 4096}
            model: {hidden_size: 128, num_hidden_layers: 4, num_attention_heads: 4}
            context_length: 128
            lanes: 8
            per_device_train_batch_size: 2
            learning_rate: 2e-3
            lr_scheduler_type: constant
            max_steps: {{steps}}
            max_eval_batches: 1
            save_steps: 200
            save_total_limit: 2
            device: cpu
            """);
        return path;
    }

    private static string Name(int worker) => $"worker-{worker}";

    private static void Progress(string line) => Console.Error.WriteLine(line);
}
