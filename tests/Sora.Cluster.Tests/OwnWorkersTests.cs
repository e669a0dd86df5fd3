namespace Sora.Cluster.Tests;

/// <summary>Workers that were not started by <c>train</c> but dialled in, as from another machine.</summary>
public sealed class OwnWorkersTests(TrainingFixture fixture) : IClassFixture<TrainingFixture>
{
    private const string Token = "a-token-for-this-test";

    // A shape whose gradient depends on libtorch's thread count already at this size.
    private const string DependsOnThreads = """
        model.hidden_size=64 model.norm=layernorm model.activation=gelu model.bias=true model.position_embedding=learned model.num_key_value_heads=4
        context_length=64 per_device_train_batch_size=8
        """;

    private static CancellationToken Deadline => TestContext.Current.CancellationToken;

    [Fact]
    public async Task A_worker_without_the_corpus_gets_its_pieces_from_the_coordinator_and_the_weights_are_the_same()
    {
        var job = fixture.WriteJob("decoder");
        var pieces = Path.Combine(fixture.Folder, "pieces-cache");
        var (here, _) = await TrainAsync(job, [], ["--fetch-corpus", "--cache-dir", pieces]);

        var undisturbed = await SoraProcess.RunAsync(["train", job, "--workers", "1", "--output", fixture.NewOutput(), "--json"], Deadline);

        Assert.True(here.ExitCode == 0, here.ToString());
        Assert.Equal(Sha(undisturbed), Sha(here));
        Assert.NotEmpty(Directory.GetFiles(pieces, "*", SearchOption.AllDirectories));
    }

    [Fact]
    public async Task A_worker_whose_numerics_differ_is_refused_when_strict_and_the_run_takes_the_next_one()
    {
        var (job, address) = (fixture.WriteJob("decoder"), Address());
        using var run = StartTrain(job, Settings(DependsOnThreads), address);
        // Of two that disagree the first by name is believed.
        using var odd = StartWorker(address, ["--name", "worker-odd", "--threads", "2"]);
        var refused = await run.EventAsync("worker_refused", _ => true, Deadline);
        using var worker = StartWorker(address, []);
        var result = await run.EndAsync(Deadline);

        Assert.True(result.ExitCode == 0, result.ToString());
        Assert.Equal("worker-odd", refused.GetProperty("worker").GetString());
        Assert.Contains("canary", refused.GetProperty("reason").GetString());
        // Which of the two is right cannot be known; the message names both and what each computes with.
        Assert.Contains("2 threads", refused.GetProperty("reason").GetString());
        Assert.NotEqual(0, (await odd.EndAsync(Deadline)).ExitCode);
    }

    [Fact]
    public async Task A_worker_whose_numerics_differ_is_announced_when_warned_about()
    {
        var (run, _) = await TrainAsync(fixture.WriteJob("decoder", "numerics: warn"), Settings(DependsOnThreads), ["--threads", "2"]);

        Assert.True(run.ExitCode == 0, run.ToString());
        Assert.Contains(run.Output, line => line.Contains("\"event\":\"warning\"") && line.Contains("canary", StringComparison.OrdinalIgnoreCase));
    }

    // One worker started by train, one that dials in.
    private async Task<(SoraResult Run, SoraResult Worker)> TrainAsync(string job, string[] settings, string[] workerArguments)
    {
        var address = Address();
        using var run = StartTrain(job, settings, address);
        using var worker = StartWorker(address, workerArguments);
        return (await run.EndAsync(Deadline), await worker.EndAsync(Deadline));
    }

    private SoraProcess StartTrain(string job, string[] settings, string address) => SoraProcess.Start(
        ["train", job, "--workers", "2", "--local-workers", "1", "--listen", address, "--output", fixture.NewOutput(), "--json", .. settings], WithToken);

    private static SoraProcess StartWorker(string address, string[] arguments) =>
        SoraProcess.Start(["worker", "start", "--coordinator", address, .. arguments], WithToken);

    private static Dictionary<string, string> WithToken => new() { ["SORA_WORKER_TOKEN"] = Token };

    private static string Address() => $"http://127.0.0.1:{Ports.Free()}";

    private static string[] Settings(string keys) => [.. keys.Split([' ', '\n'], StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries).SelectMany(key => (string[])["--set", key])];

    private static string Sha(SoraResult run) => run.Event("finished").GetProperty("weights_sha256").GetString()!;
}
