using System.Text.Json;

namespace Sora.Cluster.Tests;

/// <summary>A bit of a worker's weights turns over, in the memory of the real process.</summary>
public sealed class CorruptionTests(FaultJobs jobs)
{
    // Rows of the token table that no text of the corpus reads. Without weight decay and with a head of its own (the job says so)
    // their values stay what they were drawn as, so that they can be looked for; and a wrong one is noticed by the comparison alone.
    private const int UnusedToken = 1;
    private const int UnusedRows = 4;

    private static CancellationToken Deadline => TestContext.Current.CancellationToken;

    [Fact]
    public async Task A_bit_that_turns_over_in_the_weights_of_one_worker_is_reported_and_healed()
    {
        Assert.SkipUnless(OperatingSystem.IsLinux(), "The memory of another process is written through /proc, which Linux alone has.");
        var undisturbed = await jobs.Quick.UndisturbedAsync();
        using var run = await jobs.Quick.StartAsync("--workers", "3", "--local-workers", "0", "--set", "verify_steps=20");
        using var workers = new WorkerGroup(await run.CoordinatorAsync());
        foreach (var name in (string[])["a", "b", "c"])
            workers.Start(name);
        await workers.CommitAsync(5);

        workers["c"].Signal("STOP");
        var flips = ProcessMemory.FlipBit(workers["c"].Id, Rows(undisturbed.Output));
        workers["c"].Signal("CONT");
        Assert.NotEqual(0, flips);

        var end = await run.EndsLikeAsync(undisturbed);
        var warning = Assert.Single(end.Events("warning"), warning => warning.GetProperty("message").GetString()!.Contains("other weights", StringComparison.Ordinal));
        Assert.Contains("c", warning.GetProperty("message").GetString()!.Split(' '), StringComparer.Ordinal);
        Assert.Equal(2, end.Event("generation").GetProperty("generation").GetInt64());
        await workers.EndAsync();
    }

    [Fact]
    public async Task Of_two_that_differ_neither_writes_a_checkpoint_and_the_run_goes_back_to_one_that_both_agreed_on()
    {
        Assert.SkipUnless(OperatingSystem.IsLinux(), "The memory of another process is written through /proc, which Linux alone has.");
        var undisturbed = await jobs.Quick.UndisturbedAsync();
        // The comparison that is due by itself never comes: what is found is found where a checkpoint is due.
        using var run = await jobs.Quick.StartAsync("--workers", "2", "--local-workers", "0", "--set", "verify_steps=1000000", "--set", "save_steps=100");
        using var workers = new WorkerGroup(await run.CoordinatorAsync());
        workers.Start("a");
        workers.Start("b");
        await run.Process.EventAsync("checkpoint", _ => true, Deadline);

        workers["a"].Signal("STOP");
        var flips = ProcessMemory.FlipBit(workers["a"].Id, Rows(undisturbed.Output));
        workers["a"].Signal("CONT");
        Assert.NotEqual(0, flips);

        var end = await run.Process.EndAsync(Deadline);
        Assert.True(end.ExitCode == 0, end.ToString());
        Assert.Equal(undisturbed.WeightsSha256, end.Event("finished").GetProperty("weights_sha256").GetString());
        Assert.Contains(end.Events("warning"), warning => warning.GetProperty("message").GetString()!.Contains("goes back to the last checkpoint", StringComparison.Ordinal));
        await workers.EndAsync();
    }

    /// <summary>The rows as a finished run has them.</summary>
    private static byte[] Rows(string output)
    {
        using var file = File.OpenRead(Directory.GetFiles(output, "model.safetensors", SearchOption.AllDirectories).Single());
        using var reader = new BinaryReader(file);
        using var header = JsonDocument.Parse(reader.ReadBytes((int)reader.ReadInt64()));
        var table = header.RootElement.GetProperty("model.embed_tokens.weight");
        var row = table.GetProperty("shape")[1].GetInt32() * sizeof(float);
        file.Seek(table.GetProperty("data_offsets")[0].GetInt64() + UnusedToken * row, SeekOrigin.Current);
        return reader.ReadBytes(UnusedRows * row);
    }
}
