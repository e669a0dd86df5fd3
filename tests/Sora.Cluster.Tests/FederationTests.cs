using System.Text.Json;

namespace Sora.Cluster.Tests;

/// <summary>Rounds with real site processes: faults change nothing in the model they end with.</summary>
public sealed class FederationTests(TrainingFixture fixture) : IClassFixture<TrainingFixture>
{
    private static CancellationToken Deadline => TestContext.Current.CancellationToken;

    [Fact]
    public async Task A_site_or_everything_killed_in_a_round_changes_nothing_in_the_model()
    {
        Assert.SkipUnless(OperatingSystem.IsLinux(), "A site's process is looked for in /proc, which Linux alone has.");
        var job = WriteJob();
        var undisturbed = await SoraProcess.RunAsync(["federate", job, "--output", fixture.NewOutput(), "--json"], Deadline);
        Assert.True(undisturbed.ExitCode == 0, undisturbed.ToString());
        Assert.Equal([1, 2, 3, 4], Rounds(undisturbed));

        var output = fixture.NewOutput();
        using (var killed = SoraProcess.Start(["federate", job, "--output", output, "--json"]))
        {
            await RoundBeganAsync(killed, 1);
            // It is started again, and takes the round up again.
            SoraProcess.Signal("KILL", ProcessOf(Path.Combine(output, "sites", "b")));
            await RoundBeganAsync(killed, 3);
            await killed.KillAsync(Deadline);
        }
        var resumed = await SoraProcess.RunAsync(["federate", job, "--output", output, "--json"], Deadline);

        Assert.True(resumed.ExitCode == 0, resumed.ToString());
        Assert.Equal(Model(undisturbed), Model(resumed));
        var verified = await SoraProcess.RunAsync(["audit", "verify", Path.Combine(output, "sites", "a", "state", "audit.jsonl")], Deadline);
        Assert.True(verified.ExitCode == 0, verified.ToString());
    }

    [Fact]
    public async Task What_the_policy_of_a_site_forbids_is_refused_there_with_the_rule()
    {
        var job = WriteJob();
        var output = fixture.NewOutput();
        using var run = SoraProcess.Start(["federate", job, "--output", output, "--json", "--set", "federated.sites=[a=" + Texts("a") + "]", "--set", "federated.min_available_sites=2"]);
        var awaited = await run.EventAsync("sites_awaited", _ => true, Deadline);
        var (key, policy) = (Path.Combine(fixture.Folder, "strict.key"), Path.Combine(fixture.Folder, "strict.yaml"));
        await File.WriteAllTextAsync(policy, $$"""
            jobs: [another-job]
            coordinators: ["{{awaited.GetProperty("fingerprint").GetString()}}"]
            data_sets: [texts]
            """, Deadline);
        Assert.Equal(0, (await SoraProcess.RunAsync(["site", "keygen", "strict", "-o", key], Deadline)).ExitCode);
        Assert.Equal(0, (await SoraProcess.RunAsync(["site", "register", key + ".pub", "--admissions", awaited.GetProperty("admissions").GetString()!], Deadline)).ExitCode);
        using var site = SoraProcess.Start(
            ["site", "--coordinator", awaited.GetProperty("address").GetString()!, "--policy", policy, "--identity", key, "--state", Path.Combine(fixture.Folder, "strict"), "--data", "texts=" + Texts("b")]);

        var turnedAway = await run.EventAsync("site_turned_away", _ => true, Deadline);

        Assert.Equal("strict", turnedAway.GetProperty("site").GetString());
        Assert.Contains("jobs", turnedAway.GetProperty("reason").GetString()!, StringComparison.Ordinal);
    }

    private static Task<JsonElement> RoundBeganAsync(SoraProcess run, int round) => run.EventAsync("round_began", began => began.GetProperty("round").GetInt32() == round, Deadline);

    private static IEnumerable<int> Rounds(SoraResult run) => run.Events("round").Select(round => round.GetProperty("round").GetInt32());

    private static string Model(SoraResult run) => run.Event("federation_finished").GetProperty("model_sha256").GetString()!;

    private static int ProcessOf(string argument) => Directory.EnumerateDirectories("/proc")
        .Select(folder => int.TryParse(Path.GetFileName(folder), out var id) ? id : -1)
        .First(id => id > 0 && CommandLine(id).Any(word => word.StartsWith(argument, StringComparison.Ordinal)));

    private static string[] CommandLine(int process)
    {
        try
        {
            return File.ReadAllText($"/proc/{process}/cmdline").Split('\0');
        }
        catch (Exception gone) when (gone is IOException or UnauthorizedAccessException)
        {
            return [];
        }
    }

    /// <summary>Texts of a site: half of the fixture's documents each.</summary>
    private string Texts(string site)
    {
        var folder = Path.Combine(fixture.Folder, "texts-" + site);
        Directory.CreateDirectory(folder);
        foreach (var document in Directory.EnumerateFiles(fixture.Folder, "document-*.txt").Order(StringComparer.Ordinal).Where((_, index) => index % 2 == (site == "a" ? 0 : 1)))
            File.Copy(document, Path.Combine(folder, Path.GetFileName(document)), overwrite: true);
        return folder;
    }

    private string WriteJob()
    {
        var path = Path.Combine(fixture.Folder, "federated.yaml");
        File.WriteAllText(path, $$"""
            name: federated
            tokenizer: byte
            model: {hidden_size: 32, num_hidden_layers: 1, num_attention_heads: 2}
            data: {validation_split: 0.2, cache_dir: {{fixture.Folder}}/cache}
            federated:
              rounds: 4
              local_steps: 30
              sites: ["a={{Texts("a")}}", "b={{Texts("b")}}"]
            context_length: 32
            lanes: 1
            per_device_train_batch_size: 4
            max_eval_batches: 2
            device: cpu
            """);
        return path;
    }
}
