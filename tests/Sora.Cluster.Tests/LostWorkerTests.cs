using System.Diagnostics;
using System.Text.Json;

namespace Sora.Cluster.Tests;

/// <summary>What a user sees, and keeps, when a worker process is killed.</summary>
public sealed class LostWorkerTests(TrainingFixture fixture) : IClassFixture<TrainingFixture>
{
    private static CancellationToken Deadline => TestContext.Current.CancellationToken;

    [Fact]
    public async Task A_killed_worker_ends_the_run_with_a_clear_error_and_the_checkpoint_resumes_to_the_same_weights()
    {
        var job = fixture.WriteJob("decoder", "save_steps: 10");
        var output = fixture.NewOutput();
        string[] longer = ["--set", "max_steps=400", "--set", "eval_steps=0", "--set", "save_total_limit=0"];
        using (var run = SoraProcess.Start(["train", job, "--workers", "2", "--output", output, "--json", .. longer]))
        {
            var joined = await run.EventAsync("worker_joined", _ => true, Deadline);
            await run.EventAsync("checkpoint", _ => true, Deadline);
            Process.GetProcessById(joined.GetProperty("process_id").GetInt32()).Kill();

            var end = await run.EndAsync(Deadline);
            Assert.True(end.ExitCode == 1, end.ToString());
            var failed = end.Event("failed");
            Assert.Contains(joined.GetProperty("worker").GetString()!, failed.GetProperty("message").GetString());
            Assert.Contains("--resume", end.Errors);
        }

        var resumed = await FinishAsync(job, output, ["--workers", "3", "--resume", "auto", .. longer]);
        var undisturbed = await FinishAsync(job, fixture.NewOutput(), ["--workers", "1", .. longer]);
        Assert.Equal(Sha(undisturbed), Sha(resumed));
    }

    private static async Task<JsonElement> FinishAsync(string job, string output, string[] more)
    {
        var result = await SoraProcess.RunAsync(["train", job, "--output", output, "--json", .. more], Deadline);
        Assert.True(result.ExitCode == 0, result.ToString());
        return result.Event("finished");
    }

    private static string Sha(JsonElement finished) => finished.GetProperty("weights_sha256").GetString()!;
}
