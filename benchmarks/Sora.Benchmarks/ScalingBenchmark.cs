using System.Diagnostics;
using System.Runtime.CompilerServices;
using System.Text.Json;

namespace Sora.Benchmarks;

/// <summary>
/// What the exchange costs: the throughput of one run with two workers, beside the summed throughput of two independent
/// one-worker runs at the same time. Each worker computes the same thing in both cases: one lane of 8 x 256 tokens a step.
/// Rounds alternate, so that a drift of the machine meets both.
/// </summary>
internal static class ScalingBenchmark
{
    private const int WarmUpSteps = 3;
    private const int TokensPerWorker = 8 * 256;

    public static int Run(string[] arguments)
    {
        var rounds = arguments.Length > 0 ? int.Parse(arguments[0]) : 3;
        var steps = arguments.Length > 1 ? int.Parse(arguments[1]) : 20;
        var folder = Directory.CreateTempSubdirectory("sora-scaling-").FullName;
        try
        {
            var job = WriteJob(folder, steps);
            Console.WriteLine($"decoder 4x256, context 256, batch 8 a worker, vocabulary 4096, fp32, 1 thread a worker; {Environment.ProcessorCount} cores; {rounds} rounds of {steps} steps");
            Console.WriteLine("| round | two independent runs, sum (tok/s) | one run, two workers (tok/s) | ratio |");
            Console.WriteLine("|---|---|---|---|");
            var ratios = new List<double>();
            for (var round = 1; round <= rounds; round++)
            {
                var alone = Enumerable.Range(0, 2).Select(i => Task.Run(() => StepTimes(job, $"{folder}/alone-{round}-{i}", workers: 1))).ToArray();
                Task.WaitAll(alone);
                var separate = TokensPerSecond([.. alone.Select(run => run.Result)], tokensPerStep: TokensPerWorker);
                var together = TokensPerSecond([StepTimes(job, $"{folder}/together-{round}", workers: 2)], tokensPerStep: 2 * TokensPerWorker);
                ratios.Add(together / separate);
                Console.WriteLine($"| {round} | {separate:F0} | {together:F0} | {together / separate:F3} |");
            }
            ratios.Sort();
            Console.WriteLine($"median ratio: {ratios[ratios.Count / 2]:F3}");
            return 0;
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    private static string WriteJob(string folder, int steps)
    {
        var path = Path.Combine(folder, "scaling.yaml");
        File.WriteAllText(path, $"""
            name: scaling
            data: dotnet-docs
            tokenizer: bpe
            model: {"{"}hidden_size: 256, num_hidden_layers: 4, num_attention_heads: 4, tie_word_embeddings: false{"}"}
            context_length: 256
            per_device_train_batch_size: 8
            max_steps: {steps}
            max_eval_batches: 1
            device: cpu
            """);
        return path;
    }

    // When each step ended, by the clock of the one who watches.
    private static List<long> StepTimes(string job, string output, int workers)
    {
        var start = new ProcessStartInfo(Path.Combine(RepositoryRoot(), "sora")) { RedirectStandardOutput = true };
        foreach (var argument in (string[])["train", job, "--workers", $"{workers}", "--set", $"lanes={workers}", "--output", output, "--json"])
            start.ArgumentList.Add(argument);
        using var process = Process.Start(start)!;
        var times = new List<long>();
        while (process.StandardOutput.ReadLine() is { } line)
        {
            if (JsonDocument.Parse(line).RootElement.GetProperty("event").GetString() == "step")
                times.Add(Stopwatch.GetTimestamp());
        }
        process.WaitForExit();
        return process.ExitCode == 0 ? times : throw new InvalidOperationException($"sora train ended with exit code {process.ExitCode}.");
    }

    // Only the time counts in which all the runs are past their warm-up and none has ended.
    private static double TokensPerSecond(List<long>[] runs, int tokensPerStep)
    {
        var (from, to) = (runs.Max(times => times[WarmUpSteps - 1]), runs.Min(times => times[^1]));
        return runs.Sum(times =>
        {
            var inside = times.Where(time => time >= from && time <= to).ToArray();
            return (inside.Length - 1) * tokensPerStep / Stopwatch.GetElapsedTime(inside[0], inside[^1]).TotalSeconds;
        });
    }

    private static string RepositoryRoot([CallerFilePath] string file = "") => Path.GetFullPath(Path.Combine(Path.GetDirectoryName(file)!, "..", ".."));
}
