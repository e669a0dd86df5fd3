using Sora.Protocol.Jobs;

namespace Sora.Cli.Tests.Config;

public class ConfigTests : IDisposable
{
    private readonly TemporaryFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Fact]
    public async Task Keys_lists_every_key_with_its_default()
    {
        var keys = await SoraProcess.RunAsync(["config", "keys"]);

        Assert.All(JobSchema.Leaves, key => Assert.Contains($"\n{key.Path} ", "\n" + keys.Output));
        Assert.Matches(@"adam_epsilon +number +1e-08", keys.Output);
    }

    [Fact]
    public async Task Show_applies_every_layer_and_says_where_values_come_from()
    {
        var job = _folder.Write("job.yaml", "data: dotnet-docs\nseed: 1\nmax_steps: 1\n");
        var shown = await SoraProcess.RunAsync(["config", "show", job, "--set", "lanes=8", "--max_steps", "5"], environment: [("SORA_SEED", "2")]);

        Assert.Equal(0, shown.ExitCode);
        Assert.Matches(@"seed: +2 +# environment variable SORA_SEED", shown.Output);
        Assert.Matches(@"lanes: +8 +# --set lanes=8", shown.Output);
        Assert.Matches(@"max_steps: +5 +# --max-steps", shown.Output);
        Assert.Matches(@"data.train: +\[dotnet-docs\] +# .*job.yaml:1:7", shown.Output);
    }

    [Fact]
    public async Task Show_json_is_the_job_exactly()
    {
        var job = _folder.Write("job.yaml", "data: a.txt\n");
        var shown = await SoraProcess.RunAsync(["config", "show", job, "--json", "--output", _folder.Path, "--data", "b.txt", "--data", "c d.txt"]);

        var parsed = JobJson.Parse(shown.Output);
        Assert.Equal(["b.txt", "c d.txt"], parsed.Data.Train.Select(path => Path.GetRelativePath(AppContext.BaseDirectory, path)));
        Assert.Equal(_folder.Path, parsed.OutputDir);
    }

    [Fact]
    public async Task Every_error_of_a_job_is_told_at_once_on_stderr()
    {
        var job = _folder.Write("job.yaml", "data: x\nmax_step: 3\nworkers: 99\n");
        var outcome = await SoraProcess.RunAsync(["config", "show", job]);

        Assert.Equal(2, outcome.ExitCode);
        Assert.Empty(outcome.Output);
        Assert.Contains("the job has 2 errors", outcome.Errors);
        Assert.Contains($"{job}:2:1: unknown key 'max_step'; did you mean 'max_steps'?", outcome.Errors);
        Assert.Contains($"{job}:3:10: 'workers' is 99", outcome.Errors);
        Assert.DoesNotContain("   at ", outcome.Errors);
    }
}
