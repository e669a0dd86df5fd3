using System.Diagnostics;
using System.Runtime.CompilerServices;
using System.Text.Json;

namespace Sora.Benchmarks;

/// <summary>
/// What a fault costs: real processes, four workers, one run. Every so many committed steps one worker is killed with SIGKILL; the
/// launcher starts it again and it joins. Measured from the outside, by the clock of the one who watches: from the kill to the next
/// committed step, and how long the others stood still for the one that joined.
/// </summary>
internal static class RecoveryBenchmark
{
    private const int Workers = 4;
    private const int StepsBetween = 25;

    public static int Run(string[] arguments)
    {
        var kills = arguments.Length > 0 ? int.Parse(arguments[0]) : 8;
        var folder = Directory.CreateTempSubdirectory("sora-recovery-").FullName;
        try
        {
            Console.WriteLine($"decoder 2x128, context 128, 4 lanes x batch 4, vocabulary 4096, fp32, {Workers} workers of 1 thread; {Environment.ProcessorCount} cores; {kills} kills of one worker");
            var seen = Watch(WriteJob(folder, (kills + 2) * 2 * StepsBetween), Path.Combine(folder, "run"), kills);
            var step = Median(seen.Steps);
            Console.WriteLine("| what | median (s) | worst (s) | in step times |");
            Console.WriteLine("|---|---|---|---|");
            Row("a step, undisturbed", seen.Steps, step);
            Row("kill -9 to the next committed step", seen.Recoveries, step);
            Row("the same without 1.5 steps (goal: 0.5 s)", [.. seen.Recoveries.Select(recovery => recovery - 1.5 * step)], step);
            Row("steps apart where a worker joined", seen.Joins, step);
            Console.WriteLine($"weights: {seen.Weights}");
            return 0;
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    private sealed record Seen(List<double> Steps, List<double> Recoveries, List<double> Joins, string Weights);

    private static Seen Watch(string job, string output, int kills)
    {
        var start = new ProcessStartInfo(Path.Combine(RepositoryRoot(), "sora")) { RedirectStandardOutput = true };
        foreach (var argument in (string[])["train", job, "--workers", $"{Workers}", "--output", output, "--json"])
            start.ArgumentList.Add(argument);
        using var process = Process.Start(start)!;
        var (steps, recoveries, joins) = (new List<double>(), new List<double>(), new List<double>());
        var processes = new Dictionary<string, int>();
        var (members, before, changed, sinceChange, weights) = (0, 0L, false, 0, "");
        (long Time, bool Open) killed = default;
        while (process.StandardOutput.ReadLine() is { } line)
        {
            var now = Stopwatch.GetTimestamp();
            var json = JsonDocument.Parse(line).RootElement;
            switch (json.GetProperty("event").GetString())
            {
                case "worker_joined":
                    processes[json.GetProperty("worker").GetString()!] = json.GetProperty("process_id").GetInt32();
                    break;
                case "generation":
                    (members, changed, sinceChange) = (json.GetProperty("workers").GetArrayLength(), true, 0);
                    break;
                case "step":
                    var gap = Stopwatch.GetElapsedTime(before, now).TotalSeconds;
                    if (killed.Open && changed)
                    {
                        recoveries.Add(Stopwatch.GetElapsedTime(killed.Time, now).TotalSeconds);
                        killed = default;
                    }
                    else if (changed && before > 0 && recoveries.Count > 0)
                    {
                        joins.Add(gap);
                    }
                    else if (!killed.Open && members == Workers && sinceChange > 1)
                    {
                        steps.Add(gap);
                    }
                    (before, changed) = (now, false);
                    sinceChange++;
                    if (members == Workers && sinceChange == StepsBetween && recoveries.Count < kills)
                    {
                        // Every rank in turn: the first also reports and writes checkpoints.
                        Process.GetProcessById(processes[$"worker-{recoveries.Count % Workers}"]).Kill();
                        killed = (Stopwatch.GetTimestamp(), true);
                    }
                    break;
                case "finished":
                    weights = json.GetProperty("weights_sha256").GetString()!;
                    break;
            }
        }
        process.WaitForExit();
        return process.ExitCode == 0 && recoveries.Count > 0
            ? new Seen(steps, recoveries, joins, weights)
            : throw new InvalidOperationException($"sora train ended with exit code {process.ExitCode} after {recoveries.Count} recoveries.");
    }

    private static string WriteJob(string folder, int steps)
    {
        var path = Path.Combine(folder, "recovery.yaml");
        File.WriteAllText(path, $$"""
            name: recovery
            data: dotnet-docs
            tokenizer: bpe
            model: {hidden_size: 128, num_hidden_layers: 2, num_attention_heads: 4}
            context_length: 128
            per_device_train_batch_size: 4
            lanes: {{Workers}}
            max_steps: {{steps}}
            max_eval_batches: 1
            device: cpu
            """);
        return path;
    }

    private static void Row(string what, List<double> seconds, double step) =>
        Console.WriteLine(FormattableString.Invariant($"| {what} ({seconds.Count}) | {Median(seconds):0.000} | {seconds.DefaultIfEmpty(double.NaN).Max():0.000} | {Median(seconds) / step:0.0} |"));

    private static double Median(List<double> values)
    {
        var sorted = values.Order().ToList();
        return sorted.Count == 0 ? double.NaN : sorted[sorted.Count / 2];
    }

    private static string RepositoryRoot([CallerFilePath] string file = "") => Path.GetFullPath(Path.Combine(Path.GetDirectoryName(file)!, "..", ".."));
}
