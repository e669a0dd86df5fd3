using Sora.Protocol.Jobs;

namespace Sora.Protocol.Tests.Jobs;

public sealed record Garden
{
    [JobKey("how many trees")]
    public int Trees { get; init; } = 3;

    [JobKey("the pond")]
    public Pond Pond { get; init; } = new();
}

public sealed record Pond
{
    [JobKey("litres")]
    public double Volume { get; init; } = 100;
}

public class SettingsFileTests
{
    private static readonly SettingsFile<Garden> File = new("garden", "the gate");

    [Fact]
    public void Another_kind_of_file_is_read_as_jobs_are()
    {
        var loaded = File.LoadText("pond:\n  volume: 2.5", "garden.yaml", _ => []);

        Assert.Equal((3, 2.5), (loaded.Settings.Trees, loaded.Settings.Pond.Volume));
        Assert.Equal(2, loaded.Origins["pond.volume"].Line);
        Assert.DoesNotContain("trees", loaded.Origins.Keys);
        Assert.Equal(["trees", "pond.volume"], File.Leaves.Select(key => key.Path));
    }

    [Fact]
    public void Its_errors_come_together_with_those_of_the_check_and_name_its_kind()
    {
        var errors = Assert.Throws<JobErrors>(() => File.LoadText("treees: 2\npond: {volume: wet}\nzzzzzzz: 1\n", "garden.yaml",
            _ => [new JobError("pond.volume", null, "is judged although it could not be read"), new JobError("trees", null, "too few trees")]));

        Assert.Equal("garden", errors.Noun);
        Assert.Equal(
            [
                "garden.yaml:1:1: unknown key 'treees'; did you mean 'trees'?",
                "garden.yaml:2:16: 'pond.volume' must be a number, found 'wet'.",
                "garden.yaml:3:1: unknown key 'zzzzzzz'; the gate lists them all.",
                "too few trees",
            ],
            errors.Errors.Select(error => error.ToString()));
        Assert.Contains("a garden is a list of", Assert.Throws<JobErrors>(() => File.LoadText("[]", "garden.yaml", _ => [])).Message);
        Assert.Contains("no such garden file", Assert.Throws<JobErrors>(() => File.Load("/nowhere/garden.yaml", _ => [])).Message);
    }
}
