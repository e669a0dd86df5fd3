using System.Runtime.InteropServices;
using Sora.Benchmarks.Processes;
using Sora.Protocol.Runs;
using static System.FormattableString;

namespace Sora.Benchmarks;

/// <summary>
/// What the faults cost that should cost nothing: SIGTERM of one of four workers, and kill -9 of the coordinator that owns the
/// run while two others stand by on PostgreSQL. Real processes; the supervisor starts each again and the next round begins.
/// </summary>
internal static class TimesBenchmark
{
    private const int Workers = 4;
    private const int Coordinators = 3;
    private static readonly TimeSpan Patience = TimeSpan.FromMinutes(3);
    private static readonly TimeSpan Settling = TimeSpan.FromSeconds(8);

    public static async Task<int> RunAsync(string[] arguments)
    {
        var rounds = arguments.Length > 0 ? int.Parse(arguments[0]) : 5;
        using var stop = new CancellationTokenSource();
        using var interrupt = PosixSignalRegistration.Create(PosixSignal.SIGINT, Stop);
        using var terminate = PosixSignalRegistration.Create(PosixSignal.SIGTERM, Stop);
        SoraProgram.Build();
        var folder = Directory.CreateTempSubdirectory("sora-times-").FullName;
        var whole = false;
        try
        {
            using var postgres = new Postgres(Path.Combine(folder, "postgres"));
            using var fleet = new Fleet(folder, Coordinators, postgres.Connection);
            var timeline = new RunTimeline();
            for (var index = 0; index < Workers; index++)
                fleet.Add($"worker-{index}");
            using var run = SoraProgram.Start(Path.Combine(folder, "logs", "train.log"), line =>
            {
                timeline.Take(line);
                if (RunEventJson.Read(line) is WorkerJoined joined)
                    fleet.LetIn(joined.ProcessId);
            }, ["train", WriteJob(folder), .. fleet.Coordinator, "--workers", $"{Workers}", "--output", Path.Combine(folder, "run"), "--json"]);
            await MembersAsync(timeline, 0, Workers, stop.Token);
            await Task.Delay(Settling, stop.Token);
            await DrainsAsync(fleet, timeline, rounds, stop.Token);
            await CoordinatorsAsync(fleet, timeline, rounds, stop.Token);
            whole = true;
            return 0;
        }
        catch (OperationCanceledException) when (stop.IsCancellationRequested)
        {
            return 130;
        }
        finally
        {
            if (whole || stop.IsCancellationRequested)
                Directory.Delete(folder, recursive: true);
            else
                Console.Error.WriteLine($"logs are left in {folder}");
        }

        void Stop(PosixSignalContext context)
        {
            context.Cancel = true;
            stop.Cancel();
        }
    }

    private static async Task DrainsAsync(Fleet fleet, RunTimeline timeline, int rounds, CancellationToken cancellationToken)
    {
        var (stalls, thrownAway, back) = (new List<double>(), 0, 0);
        for (var round = 0; round < rounds; round++)
        {
            var logs = Enumerable.Range(0, Workers).Select(index => fleet.WorkerLog($"worker-{index}")).ToList();
            var (broken, told) = (logs.Sum(log => Lines(log, "[2302]")), RunTimeline.Now);
            fleet.Drain($"worker-{round % Workers}");
            var without = await MembersAsync(timeline, told, Workers - 1, cancellationToken);
            var next = await timeline.WaitAsync<StepCommitted>(step => step.Step > without.Event.FirstStep, without.Time, Patience, cancellationToken);
            var last = timeline.All<StepCommitted>().Last(step => step.Time < next.Time);
            stalls.Add(next.Time - last.Time - Median(Steps(timeline, told - Settling.TotalSeconds, told)));
            back += without.Event.FirstStep < last.Event.Step ? 1 : 0;
            thrownAway += logs.Sum(log => Lines(log, "[2302]")) - broken;
            await MembersAsync(timeline, without.Time, Workers, cancellationToken);
            await Task.Delay(Settling, cancellationToken);
        }
        var normal = Median(Steps(timeline, RunTimeline.Now - Settling.TotalSeconds / 2, RunTimeline.Now));
        Console.WriteLine(Invariant($"decoder 4x128, context 128, 4 lanes x batch 4, vocabulary 4096; {Workers} workers of 1 thread and {Coordinators} coordinators on PostgreSQL as processes on {Environment.ProcessorCount} cores; {rounds} rounds each"));
        Console.WriteLine("| SIGTERM of one of four workers | |");
        Console.WriteLine("|---|---|");
        Console.WriteLine(Invariant($"| steps whose computing was given up and repeated | {thrownAway} |"));
        Console.WriteLine(Invariant($"| generations that began before a reported step | {back} |"));
        Console.WriteLine(Invariant($"| stall beyond a step, median (worst) | {Median(stalls):0.00} s ({stalls.Max():0.00}), a step {normal:0.00} s |"));
        Console.WriteLine();
    }

    private static async Task CoordinatorsAsync(Fleet fleet, RunTimeline timeline, int rounds, CancellationToken cancellationToken)
    {
        var (owners, worst, normal, generations, missing) = (new List<double>(), new List<double>(), new List<double>(), 0, 0L);
        for (var round = 0; round < rounds; round++)
        {
            var owner = Enumerable.Range(0, Coordinators).MaxBy(index => LastWord(fleet.CoordinatorLog(index)), StringComparer.Ordinal);
            // All of them: the killed one is started again and may be the next owner.
            var logs = Enumerable.Range(0, Coordinators).Select(fleet.CoordinatorLog).ToList();
            var (recoveries, killed) = (logs.Sum(log => Lines(log, "[1001]")), RunTimeline.Now);
            normal.AddRange(Computed(timeline, killed - Settling.TotalSeconds, killed));
            fleet.KillCoordinator(owner);
            while (logs.Sum(log => Lines(log, "[1001]")) == recoveries)
            {
                if (RunTimeline.Now - killed > Patience.TotalSeconds)
                    throw new TimeoutException($"No coordinator took the run up after coordinator {owner} was killed in round {round}.");
                await Task.Delay(50, cancellationToken);
            }
            owners.Add(RunTimeline.Now - killed);
            await timeline.WaitAsync<StepCommitted>(_ => true, RunTimeline.Now + 5, Patience, cancellationToken);
            await Task.Delay(Settling, cancellationToken);
            worst.AddRange(Computed(timeline, killed, RunTimeline.Now).DefaultIfEmpty(double.NaN).Max() is var longest ? [longest] : []);
            generations += timeline.All<GenerationFormed>().Count(formed => formed.Time >= killed);
            var steps = timeline.All<StepCommitted>().Select(step => step.Event.Step).ToHashSet();
            missing = steps.Max() - steps.Count;
            await Task.Delay(Settling, cancellationToken);
        }
        Console.WriteLine("| kill -9 of the coordinator that owns the run | |");
        Console.WriteLine("|---|---|");
        Console.WriteLine(Invariant($"| steps lost (of those reported, missing) | {missing} |"));
        Console.WriteLine(Invariant($"| generations formed because of it | {generations} |"));
        Console.WriteLine(Invariant($"| longest step between the kill and some seconds after the takeover, where it is computed: median (worst) | {Median(worst):0.00} s ({worst.Max():0.00}) |"));
        Console.WriteLine(Invariant($"| a step before the kill: median (worst) | {Median(normal):0.00} s ({normal.Max():0.00}) |"));
        Console.WriteLine(Invariant($"| a coordinator has taken the run up, median (worst) | {Median(owners):0.0} s ({owners.Max():0.0}) |"));
    }

    private static Task<(double Time, GenerationFormed Event)> MembersAsync(RunTimeline timeline, double since, int workers, CancellationToken cancellationToken) =>
        timeline.WaitAsync<GenerationFormed>(formed => formed.Workers.Count == workers, since, Patience, cancellationToken);

    private static List<double> Steps(RunTimeline timeline, double from, double to)
    {
        var times = timeline.All<StepCommitted>().Select(step => step.Time).Where(time => time >= from && time < to).ToList();
        return [.. times.Zip(times.Skip(1), (a, b) => b - a)];
    }

    // By the worker's own clock: what a coordinator reports comes late when it is the coordinator that died.
    private static List<double> Computed(RunTimeline timeline, double from, double to) =>
        [.. timeline.All<StepCommitted>().Where(step => step.Time >= from && step.Time < to).Select(step => step.Event.ComputeSeconds + step.Event.ExchangeSeconds + step.Event.WaitForDataSeconds)];

    // Log lines begin with the time of day; these tell that the run's actor is here.
    private static string LastWord(string log) => ReadLines(log).LastOrDefault(line => line.Contains("[1000]") || line.Contains("[1001]")) ?? "";

    private static int Lines(string log, string holding) => ReadLines(log).Count(line => line.Contains(holding));

    private static IEnumerable<string> ReadLines(string log) => File.Exists(log) ? File.ReadAllLines(log) : [];

    private static double Median(List<double> values)
    {
        var sorted = values.Order().ToList();
        return sorted.Count == 0 ? double.NaN : sorted[sorted.Count / 2];
    }

    private static string WriteJob(string folder)
    {
        var path = Path.Combine(folder, "times.yaml");
        File.WriteAllText(path, """
            name: times
            data: dotnet-docs
            tokenizer: {type: bpe, vocab_size: 4096}
            model: {hidden_size: 128, num_hidden_layers: 4, num_attention_heads: 4}
            context_length: 128
            lanes: 4
            per_device_train_batch_size: 4
            lr_scheduler_type: constant
            max_steps: 1000000
            max_eval_batches: 1
            device: cpu
            """);
        return path;
    }
}
