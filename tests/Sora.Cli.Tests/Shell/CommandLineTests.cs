using Sora.Cli.Shell;
using Sora.Cli.Train;

namespace Sora.Cli.Tests.Shell;

public class CommandLineTests
{
    [Fact]
    public async Task Help_shows_the_verbs_and_examples()
    {
        var help = await SoraProcess.RunAsync(["--help"]);

        Assert.Equal(0, help.ExitCode);
        Assert.Contains("config", help.Output);
        Assert.Contains("Examples:", help.Output);
        Assert.Equal(help.Output, (await SoraProcess.RunAsync([])).Output);
    }

    [Fact]
    public async Task Version_is_a_number_on_stdout()
    {
        var version = await SoraProcess.RunAsync(["--version"]);

        Assert.Equal(0, version.ExitCode);
        Assert.Matches(@"^\d+\.\d+\.\d+", version.Output);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task A_libtorch_that_is_missing_and_one_that_does_not_load_are_the_same_kind_of_error(bool isThere)
    {
        using var folder = new TemporaryFolder();
        foreach (var name in isThere ? ["libc10.so", "libtorch_cpu.so", "libtorch.so", "c10.dll", "torch_cpu.dll", "torch.dll"] : Array.Empty<string>())
            folder.Write(name, "no library");
        var outcome = await SoraProcess.RunAsync(["worker", "--coordinator", "http://127.0.0.1:1"], environment: [("SORA_LIBTORCH", folder.Path), (WorkerProcesses.TokenVariable, "token")]);

        Assert.Equal(2, outcome.ExitCode);
        Assert.Contains("libtorch", outcome.Errors);
    }

    [Fact]
    public async Task A_misspelled_verb_is_a_usage_error_that_names_the_nearest()
    {
        var outcome = await SoraProcess.RunAsync(["confgi", "keys"]);

        Assert.Equal(2, outcome.ExitCode);
        Assert.Contains("did you mean 'config'?", outcome.Errors);
        Assert.Empty(outcome.Output);
    }

    [Theory]
    [InlineData("train", "job.yaml", "--resume", "")]
    [InlineData("train", "job.yaml", "--workers", "")]
    [InlineData("train", "job.yaml", "--token-file", " ")]
    [InlineData("generate", "")]
    [InlineData("evaluate", "run", "--data", "")]
    public void An_empty_word_where_something_must_be_named_is_a_usage_error(params string[] words) =>
        Assert.EndsWith("is empty.", Assert.Single(RootVerb.Create().Parse(words).Errors).Message);

    [Fact]
    public void A_prompt_may_be_empty() => Assert.Empty(RootVerb.Create().Parse(["generate", "run", "--prompt", ""]).Errors);

    [Theory]
    [InlineData("bash", "complete")]
    [InlineData("zsh", "compdef")]
    [InlineData("fish", "complete -c sora")]
    [InlineData("pwsh", "Register-ArgumentCompleter")]
    public async Task Completion_prints_a_script(string shell, string expected) =>
        Assert.Contains(expected, (await SoraProcess.RunAsync(["completion", shell])).Output);

    [Fact]
    public async Task The_program_answers_completion_scripts_with_verbs_and_job_keys()
    {
        Assert.Contains("config", (await SoraProcess.RunAsync(["[suggest:7]", "sora co"])).Output);
        Assert.Contains("learning_rate=", (await SoraProcess.RunAsync(["[suggest:33]", "sora config show x.yaml --set lear"])).Output);
    }

    [Fact]
    public async Task An_output_that_cannot_be_written_is_one_clear_message()
    {
        Assert.SkipUnless(File.Exists("/dev/full"), "There is no /dev/full here.");
        var outcome = await ShellAsync("dotnet \"$0\" config keys > /dev/full");

        Assert.Equal((1, "sora: The output cannot be written: No space left on device.\n"), (outcome.ExitCode, outcome.Errors));
    }

    [Fact]
    public async Task A_reader_that_has_seen_enough_ends_the_program_quietly()
    {
        Assert.SkipWhen(OperatingSystem.IsWindows(), "Windows has no such shell.");
        var outcome = await ShellAsync("{ dotnet \"$0\" worker start --help; dotnet \"$0\" config keys; echo \"code $?\" >&2; } | true");

        Assert.Equal("code 141\n", outcome.Errors);
    }

    private static async Task<SoraProcess.Outcome> ShellAsync(string script)
    {
        using var process = System.Diagnostics.Process.Start(new System.Diagnostics.ProcessStartInfo("sh", ["-c", script, SoraProcess.Program]) { RedirectStandardError = true, RedirectStandardOutput = true })!;
        var errors = process.StandardError.ReadToEndAsync(TestContext.Current.CancellationToken);
        var output = process.StandardOutput.ReadToEndAsync(TestContext.Current.CancellationToken);
        await process.WaitForExitAsync(TestContext.Current.CancellationToken);
        return new(process.ExitCode, await output, await errors);
    }

    [Fact]
    public void Underscores_in_option_names_are_dashes_and_values_are_left_alone()
    {
        var normal = SoraProgram.Normalize(["train", "a_b.yaml", "--max_steps", "x_y", "--set=model.hidden_size=3", "--", "--a_b"]);

        Assert.Equal(["train", "a_b.yaml", "--max-steps", "x_y", "--set=model.hidden_size=3", "--", "--a_b"], normal);
    }
}
