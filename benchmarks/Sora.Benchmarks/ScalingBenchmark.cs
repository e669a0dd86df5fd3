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
                var alone = Enumerable.Range(0, 2).Select(i => Task.Run(() => TokensPerSecond(job, $"{folder}/alone-{round}-{i}", workers: 1))).ToArray();
                Task.WaitAll(alone);
                var separate = alone.Sum(run => run.Result);
                var together = TokensPerSecond(job, $"{folder}/together-{round}", workers: 2);
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

    // Tokens a second between the end of the warm-up and the last step, by the clock of the one who watches.
    private static double TokensPerSecond(string job, string output, int workers)
    {
        var start = new ProcessStartInfo(Path.Combine(RepositoryRoot(), "sora")) { RedirectStandardOutput = true };
        foreach (var argument in (string[])["train", job, "--workers", $"{workers}", "--set", $"lanes={workers}", "--output", output, "--json"])
            start.ArgumentList.Add(argument);
        using var process = Process.Start(start)!;
        var (first, last, steps) = (0L, 0L, 0);
        while (process.StandardOutput.ReadLine() is { } line)
        {
            var json = JsonDocument.Parse(line).RootElement;
            if (json.GetProperty("event").GetString() != "step")
                continue;
            last = Stopwatch.GetTimestamp();
            if (++steps == WarmUpSteps)
                first = last;
        }
        process.WaitForExit();
        if (process.ExitCode != 0)
            throw new InvalidOperationException($"sora train ended with exit code {process.ExitCode}.");
        return (steps - WarmUpSteps) * workers * 8 * 256 / Stopwatch.GetElapsedTime(first, last).TotalSeconds;
    }

    private static string RepositoryRoot([CallerFilePath] string file = "") => Path.GetFullPath(Path.Combine(Path.GetDirectoryName(file)!, "..", ".."));
}
