using System.Security.Cryptography;

namespace Sora.Cluster.Tests;

/// <summary>A run is a pure function: how many workers evaluate it, and whether it was interrupted, cannot be seen in its weights.</summary>
public sealed class SameBytesTests(TrainingFixture fixture) : IClassFixture<TrainingFixture>
{
    private static CancellationToken Deadline => TestContext.Current.CancellationToken;

    [Theory]
    [InlineData("decoder")]
    [InlineData("lstm")]
    public async Task Any_number_of_workers_ends_with_the_same_weights(string model)
    {
        var job = fixture.WriteJob(model);
        var undisturbed = await TrainAsync(job, workers: 1);
        foreach (var workers in (int[])[1, 2, 3, 4])
            Assert.Equal(undisturbed, await TrainAsync(job, workers));
    }

    [Theory]
    [InlineData("decoder", 1, 3)]
    [InlineData("lstm", 3, 2)]
    public async Task Resumed_from_the_middle_on_another_number_of_workers_ends_with_the_same_weights(string model, int before, int after)
    {
        var job = fixture.WriteJob(model, "save_steps: 4");
        var output = fixture.NewOutput();
        var undisturbed = await TrainAsync(job, before, "--output", output);

        var middle = Path.Combine(output, "checkpoints", "step-00000004");
        var resumed = await TrainAsync(job, after, "--output", fixture.NewOutput(), "--resume", middle);

        Assert.Equal(undisturbed, resumed);
    }

    [Fact]
    public async Task Checkpoints_hold_the_same_files_however_many_workers_wrote_them()
    {
        var job = fixture.WriteJob("decoder", "save_steps: 2\nsave_total_limit: 0\nmax_shard_size: 20KB");
        var (alone, together) = (fixture.NewOutput(), fixture.NewOutput());
        Assert.Equal(await TrainAsync(job, 1, "--output", alone), await TrainAsync(job, 3, "--output", together));

        Assert.Equal(Files(alone), Files(together));
        Assert.Contains(Files(alone).Keys, name => name.StartsWith("step-00000002/model-00002-of-", StringComparison.Ordinal));
        var verified = await SoraProcess.RunAsync(["checkpoint", "verify", together], Deadline);
        Assert.True(verified.ExitCode == 0, verified.Errors);

        // The job tells how many workers it asked for, and the manifest what the job's file hashes to.
        static SortedDictionary<string, string> Files(string output)
        {
            var checkpoints = Path.Combine(output, "checkpoints");
            return new SortedDictionary<string, string>(
                Directory.GetFiles(checkpoints, "*", SearchOption.AllDirectories)
                    .Where(path => Path.GetFileName(path) is not ("job.json" or "manifest.json"))
                    .ToDictionary(path => Path.GetRelativePath(checkpoints, path), path => Convert.ToHexStringLower(SHA256.HashData(File.ReadAllBytes(path)))),
                StringComparer.Ordinal);
        }
    }

    [Fact]
    public async Task Stopped_by_a_signal_and_resumed_ends_with_the_same_weights()
    {
        var job = fixture.WriteJob("decoder", "logging_steps: 1");
        string[] longer = ["--set", "max_steps=400", "--set", "eval_steps=0"];
        var output = fixture.NewOutput();
        using (var stopped = SoraProcess.Start(["train", job, "--workers", "2", "--output", output, "--json", .. longer]))
        {
            await stopped.EventAsync("step", step => step.GetProperty("step").GetInt64() >= 20, Deadline);
            stopped.Signal("TERM");
            var end = await stopped.EndAsync(Deadline);
            Assert.True(end.ExitCode == 75, end.ToString());
            Assert.True(end.Event("stopped").GetProperty("step").GetInt64() < 400, end.ToString());
        }
        var resumed = await TrainAsync(job, 3, ["--output", output, "--resume", "true", .. longer]);

        Assert.Equal(await TrainAsync(job, 1, longer), resumed);
    }

    private async Task<string> TrainAsync(string job, int workers, params string[] more)
    {
        string[] output = more.Contains("--output") ? [] : ["--output", fixture.NewOutput()];
        var result = await SoraProcess.RunAsync(["train", job, "--workers", $"{workers}", "--json", .. output, .. more], Deadline);
        Assert.True(result.ExitCode == 0, result.ToString());
        var sha = result.Event("finished").GetProperty("weights_sha256").GetString()!;
        Assert.Matches("^[0-9a-f]{64}$", sha);
        return sha;
    }
}
