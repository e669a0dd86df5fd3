using System.Text.Json;

namespace Sora.Cluster.Tests;

/// <summary>A run that faults are done to: the real program, followed by its events.</summary>
internal sealed class FaultRun : IDisposable
{
    private readonly SoraProcess _process;

    private FaultRun(SoraProcess process, string output) => (_process, Output) = (process, output);

    public string Output { get; }

    public SoraProcess Process => _process;

    private static CancellationToken Deadline => TestContext.Current.CancellationToken;

    public static FaultRun Start(string job, string output, params string[] arguments) =>
        new(SoraProcess.Start(["train", job, "--output", output, "--json", .. arguments]), output);

    /// <summary>Waits until a step is committed.</summary>
    public Task StepAsync(long step) => _process.EventAsync("step", json => json.GetProperty("step").GetInt64() >= step, Deadline);

    /// <summary>Waits for an event of a worker.</summary>
    public Task<JsonElement> WorkerAsync(string happened, string worker) => _process.EventAsync(happened, json => json.GetProperty("worker").GetString() == worker, Deadline);

    /// <summary>Waits for a generation after the first.</summary>
    public Task<JsonElement> GenerationAsync(Func<string[], bool> members, long after = 1) =>
        _process.EventAsync("generation", json => json.GetProperty("generation").GetInt64() > after && members(Members(json)), Deadline);

    public async Task<int> ProcessOfAsync(string worker) => (await WorkerAsync("worker_joined", worker)).GetProperty("process_id").GetInt32();

    public async Task SignalAsync(string signal, string worker) => SoraProcess.Signal(signal, await ProcessOfAsync(worker));

    /// <summary>Adds a worker, as a user does while the run goes on.</summary>
    public async Task<SoraProcess> AddWorkerAsync(string name) => SoraProcess.Start(["worker", "--name", name, .. await CoordinatorAsync()]);

    /// <summary>How workers reach the coordinator of the run.</summary>
    public async Task<string[]> CoordinatorAsync()
    {
        var listening = await _process.EventAsync("listening", _ => true, Deadline);
        return ["--coordinator", listening.GetProperty("address").GetString()!, "--token-file", listening.GetProperty("token_file").GetString()!];
    }

    /// <summary>
    /// The run must end like the undisturbed one: the same bytes, the same losses step by step, each step once. And no
    /// generation may begin before a step that was already shown: that is what going back to a checkpoint looks like.
    /// </summary>
    public async Task<SoraResult> EndsLikeAsync(Undisturbed expected)
    {
        var end = await _process.EndAsync(Deadline);
        Assert.True(end.ExitCode == 0, end.ToString());
        Assert.Equal(expected.WeightsSha256, end.Event("finished").GetProperty("weights_sha256").GetString());
        Assert.Equal(expected.Losses, Undisturbed.LossesIn(Output));
        NeverGoesBack(end);
        return end;
    }

    public static string[] Members(JsonElement generation) => [.. generation.GetProperty("workers").EnumerateArray().Select(worker => worker.GetString()!)];

    public void Dispose() => _process.Dispose();

    private static void NeverGoesBack(SoraResult end)
    {
        var (shown, newest) = (0L, 1L);
        foreach (var json in end.Output.Select(line => JsonDocument.Parse(line).RootElement))
        {
            switch (json.GetProperty("event").GetString())
            {
                case "step": shown = json.GetProperty("step").GetInt64(); break;
                // Whoever follows a run anew is told the present generation again.
                case "generation" when json.GetProperty("generation").GetInt64() > newest:
                    newest = json.GetProperty("generation").GetInt64();
                    Assert.True(json.GetProperty("first_step").GetInt64() >= shown, $"A generation began at an earlier step than {shown}.\n{end}");
                    break;
            }
        }
    }
}

/// <summary>What a run ends with when nothing happens to it.</summary>
internal sealed record Undisturbed(string Output, string WeightsSha256, IReadOnlyList<string> Losses)
{
    public static async Task<Undisturbed> OfAsync(string job, string output)
    {
        var end = await SoraProcess.RunAsync(["train", job, "--workers", "1", "--output", output, "--json"], TestContext.Current.CancellationToken);
        Assert.True(end.ExitCode == 0, end.ToString());
        return new Undisturbed(output, end.Event("finished").GetProperty("weights_sha256").GetString()!, LossesIn(output));
    }

    /// <summary>Steps and evaluations as they were recorded, without what depends on the clock.</summary>
    public static IReadOnlyList<string> LossesIn(string output) =>
    [
        .. File.ReadLines(Path.Combine(output, "metrics.jsonl")).Select(line => JsonDocument.Parse(line).RootElement).Select(json =>
            $"{json.GetProperty("event").GetString()} {json.GetProperty("step").GetInt64()}: {json.GetProperty(json.TryGetProperty("loss", out _) ? "loss" : "eval_loss").GetRawText()}"),
    ];
}
