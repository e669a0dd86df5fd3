using System.Diagnostics;
using System.Globalization;
using System.Net;
using System.Net.Sockets;
using System.Text.Json;

namespace Sora.Cli.Tests.Train;

/// <summary>The whole command with real processes on a corpus of a few kilobytes.</summary>
public sealed class TrainTests : IDisposable
{
    private readonly TemporaryFolder _folder = new();
    private readonly string _job;

    public TrainTests()
    {
        _folder.Write("text.txt", string.Concat(Enumerable.Range(0, 800).Select(i => $"Line {i} of a small text that says {i * 7919 % 1000}.\n")));
        _job = _folder.Write("tiny.yaml", """
            data: {train: text.txt, validation_split: 0.1, cache_dir: cache}
            tokenizer: byte
            model: {hidden_size: 16, num_hidden_layers: 1, num_attention_heads: 2, dropout: 0.1}
            context_length: 16
            lanes: 2
            per_device_train_batch_size: 2
            max_steps: 6
            save_steps: 3
            device: cpu
            """);
    }

    public void Dispose() => _folder.Dispose();

    [Fact]
    public async Task Training_resumed_on_another_number_of_workers_ends_with_the_weights_of_the_undisturbed_run()
    {
        var whole = await TrainAsync("--workers", "2", "--output", "whole");
        Assert.Equal(0, whole.ExitCode);
        var half = await TrainAsync("--workers", "1", "--output", "half", "--max-steps", "3", "--set", "lr_scheduler_type=constant");
        var rest = await TrainAsync("--workers", "1", "--output", "whole", "--resume", Path.Combine(_folder.Path, "whole", "checkpoints", "step-00000003"));

        Assert.Equal(0, half.ExitCode);
        Assert.Equal(0, rest.ExitCode);
        var finished = Events(whole).Last();
        Assert.Equal("finished", finished.GetProperty("event").GetString());
        Assert.Equal(6, finished.GetProperty("step").GetInt64());
        Assert.Equal(finished.GetProperty("weights_sha256").GetString(), Events(rest).Last().GetProperty("weights_sha256").GetString());
        Assert.NotEqual(finished.GetProperty("weights_sha256").GetString(), Events(half).Last().GetProperty("weights_sha256").GetString());
        Assert.Equal([1, 2, 3, 4, 5, 6], Events(whole).Where(IsStep).Select(step => step.GetProperty("step").GetInt32()));
        Assert.Equal([4, 5, 6], Events(rest).Where(IsStep).Select(step => step.GetProperty("step").GetInt32()));
        Assert.Contains("<svg", File.ReadAllText(Path.Combine(_folder.Path, "whole", "loss.svg")));

        // What is there is protected, and what is finished stays finished.
        var refused = await TrainAsync("--output", "whole");
        Assert.Equal(2, refused.ExitCode);
        Assert.Contains("--overwrite", refused.Errors);
        Assert.Equal("failed", Events(refused).Single().GetProperty("event").GetString());
        var again = await TrainAsync("--output", "whole", "--resume", "auto");
        Assert.Equal(0, again.ExitCode);
        Assert.Equal(finished.GetProperty("weights_sha256").GetString(), Events(again).Last().GetProperty("weights_sha256").GetString());

        // Also where its history is another folder's.
        var elsewhere = await TrainAsync("--output", "elsewhere", "--resume", "whole");
        Assert.Equal(0, elsewhere.ExitCode);
        Assert.Equal(finished.GetProperty("loss").GetDouble(), Events(elsewhere).Last().GetProperty("loss").GetDouble());

        // What the other verbs make of it.
        var generated = await SoraProcess.RunAsync(["generate", "whole", "-p", "Line", "--max-new-tokens", "5", "--temperature", "0"], _folder.Path);
        Assert.Equal(0, generated.ExitCode);
        Assert.StartsWith("Line", generated.Output);
        var score = await SoraProcess.RunAsync(["evaluate", "whole", "--data", "text.txt", "--json"], _folder.Path);
        Assert.InRange(JsonDocument.Parse(score.Output).RootElement.GetProperty("loss").GetDouble(), 4, 6);
        var list = (await SoraProcess.RunAsync(["checkpoint", "list", "whole"], _folder.Path)).Output;
        Assert.Contains("step 6", list);
        Assert.DoesNotContain("DAMAGED", list);
        Assert.Equal(0, (await SoraProcess.RunAsync(["checkpoint", "verify", "whole"], _folder.Path)).ExitCode);
        File.WriteAllText(Path.Combine(_folder.Path, "whole", "checkpoints", "step-00000006", "config.json"), "{}");
        Assert.Equal(4, (await SoraProcess.RunAsync(["checkpoint", "verify", "whole"], _folder.Path)).ExitCode);
        Assert.Matches(@"step 6 .*DAMAGED: .*config.json has 2 bytes", (await SoraProcess.RunAsync(["checkpoint", "list", "whole"], _folder.Path)).Output);
    }

    [Theory]
    [InlineData("no-such-file.txt does not exist", 4, "--data", "no-such-file.txt")]
    [InlineData("There is no text in ", 4, "--data", "empty.txt")]
    [InlineData("is not UTF-8", 4, "--data", "broken.txt")]
    [InlineData("context_length", 4, "--context", "")]
    [InlineData("'workers' is 3: there are only 2 lanes", 2, "--workers", "3")]
    [InlineData("libtorch sees no CUDA GPU", 2, "--device", "cuda")]
    [InlineData("is not a checkpoint", 4, "--resume", "nowhere")]
    [InlineData("Nothing to resume", 4, "--resume", "true")]
    [InlineData("cannot be written", 2, "--output", "text.txt/out")]
    [InlineData("is not an address", 2, "--listen", "nonsense")]
    public async Task Bad_input_is_one_clear_message_an_exit_code_and_nothing_half_written(string message, int exitCode, string option, string value)
    {
        _folder.Write("empty.txt", "");
        File.WriteAllBytes(Path.Combine(_folder.Path, "broken.txt"), [0x61, 0xFF, 0xFE, 0x62]);
        string[] arguments = option == "--context" ? ["--set", "context_length=100000"] : [option, value];

        var outcome = await TrainAsync([.. arguments, .. option == "--output" ? Array.Empty<string>() : ["--output", "out"]]);

        Assert.Equal((exitCode, ""), (outcome.ExitCode, outcome.Errors.Contains(message) ? "" : outcome.Errors));
        Assert.DoesNotContain("   at ", outcome.Errors);
        Assert.Equal("failed", Events(outcome).Last().GetProperty("event").GetString());
        Assert.False(Directory.Exists(Path.Combine(_folder.Path, "out")));
    }

    [Fact]
    public async Task A_port_in_use_is_named()
    {
        using var other = new TcpListener(IPAddress.Loopback, 0);
        other.Start();
        var outcome = await TrainAsync("--listen", $"http://{other.LocalEndpoint}", "--output", "out");

        Assert.Equal(2, outcome.ExitCode);
        Assert.Contains("another program uses that port", outcome.Errors);
        Assert.False(Directory.Exists(Path.Combine(_folder.Path, "out")));
    }

    [Fact]
    public async Task A_worker_started_by_hand_shows_the_token_and_takes_its_part()
    {
        (string, string?)[] secret = [("SORA_WORKER_TOKEN", "a secret of the test")];
        using var train = SoraProcess.Start(["train", _job, "--json", "--output", "out", "--workers", "2", "--local-workers", "1", "--listen", $"http://127.0.0.1:{FreePort()}"], _folder.Path, secret);
        var events = train.StandardOutput.ReadToEndAsync(TestContext.Current.CancellationToken);
        var address = train.StartInfo.ArgumentList[^1];
        var worker = await SoraProcess.RunAsync(["worker", "start", "--coordinator", address, "--name", "by-hand"], _folder.Path, secret);
        await train.WaitForExitAsync(TestContext.Current.CancellationToken);

        Assert.Equal((0, 0), (train.ExitCode, worker.ExitCode));
        Assert.Contains("\"worker\":\"by-hand\"", await events);
        Assert.Contains("\"event\":\"finished\"", await events);
    }

    [Fact]
    public async Task The_first_SIGTERM_stops_with_a_checkpoint_and_exit_code_75()
    {
        Assert.SkipWhen(OperatingSystem.IsWindows(), "Windows has no signals to send.");
        using var process = SoraProcess.Start(["train", _job, "--json", "--workers", "2", "--output", "out", "--max-steps", "1000000"], _folder.Path);
        var errors = process.StandardError.ReadToEndAsync(TestContext.Current.CancellationToken);
        JsonElement last = default;
        while (await process.StandardOutput.ReadLineAsync(TestContext.Current.CancellationToken) is { } line)
        {
            last = JsonDocument.Parse(line).RootElement;
            if (IsStep(last) && last.GetProperty("step").GetInt64() == 2)
                Process.Start("kill", ["-TERM", process.Id.ToString(CultureInfo.InvariantCulture)]).Dispose();
        }
        await process.WaitForExitAsync(TestContext.Current.CancellationToken);

        Assert.Equal((75, ""), (process.ExitCode, await errors));
        Assert.Equal("stopped", last.GetProperty("event").GetString());
        Assert.True(Directory.Exists(last.GetProperty("checkpoint").GetString()));
        Assert.Contains("--resume auto", last.GetProperty("reason").GetString());
    }

    [Fact]
    public async Task The_second_SIGINT_ends_at_once_and_blames_nobody()
    {
        Assert.SkipWhen(OperatingSystem.IsWindows(), "Windows has no signals to send.");
        // Wide enough that the run has not stopped yet when the second signal comes.
        using var process = SoraProcess.Start(["train", _job, "--json", "--workers", "2", "--output", "out", "--max-steps", "1000000",
            "--set", "model.hidden_size=256", "--set", "per_device_train_batch_size=512"], _folder.Path);
        var errors = process.StandardError.ReadToEndAsync(TestContext.Current.CancellationToken);
        var names = new List<string?>();
        while (await process.StandardOutput.ReadLineAsync(TestContext.Current.CancellationToken) is { } line)
        {
            names.Add(JsonDocument.Parse(line).RootElement.GetProperty("event").GetString());
            if (names[^1] == "warning" || (names[^1] == "step" && names.Count(name => name == "step") == 1))
                Process.Start("kill", ["-INT", process.Id.ToString(CultureInfo.InvariantCulture)]).Dispose();
        }
        await process.WaitForExitAsync(TestContext.Current.CancellationToken);

        Assert.Equal((130, ""), (process.ExitCode, await errors));
        Assert.DoesNotContain("failed", names);
    }

    [Fact]
    public async Task When_the_reader_of_the_events_goes_the_run_stops_with_a_checkpoint_and_can_be_resumed()
    {
        Assert.SkipWhen(OperatingSystem.IsWindows(), "Windows tells nothing of a reader that has gone.");
        using var process = SoraProcess.Start(["train", _job, "--json", "--workers", "2", "--output", "out", "--max-steps", "1000000"], _folder.Path);
        var errors = process.StandardError.ReadToEndAsync(TestContext.Current.CancellationToken);
        while (await process.StandardOutput.ReadLineAsync(TestContext.Current.CancellationToken) is { } line && !IsStep(JsonDocument.Parse(line).RootElement)) { }
        process.StandardOutput.Close();
        await process.WaitForExitAsync(TestContext.Current.CancellationToken);

        Assert.Equal((75, ""), (process.ExitCode, await errors));
        Assert.NotEmpty(Directory.GetDirectories(Path.Combine(_folder.Path, "out", "checkpoints")));
    }

    [Fact]
    public async Task A_job_means_the_same_text_wherever_the_user_stands_and_what_changed_is_told_once()
    {
        var elsewhere = Directory.CreateDirectory(Path.Combine(_folder.Path, "elsewhere")).FullName;
        var first = await SoraProcess.RunAsync(["train", _job, "--json", "--max-steps", "2", "--device", "auto"], elsewhere);
        var second = await SoraProcess.RunAsync(["train", _job, "--json", "--max-steps", "3", "--device", "auto", "--resume", "auto", "--output", "elsewhere/runs/tiny"], _folder.Path);

        Assert.Equal((0, 0), (first.ExitCode, second.ExitCode));
        Assert.True(Directory.Exists(Path.Combine(elsewhere, "runs", "tiny")));
        Assert.False(Directory.Exists(Path.Combine(elsewhere, "cache")));
        var warning = Assert.Single(Events(second), happened => happened.GetProperty("event").GetString() == "warning");
        Assert.StartsWith("max_steps was 2", warning.GetProperty("message").GetString());
        Assert.Matches("^(cpu|cuda)$", Events(second).Single(happened => happened.GetProperty("event").GetString() == "started").GetProperty("device").GetString());
    }

    [Fact]
    public async Task Dry_run_prints_the_plan_and_writes_nothing()
    {
        var before = Directory.GetFileSystemEntries(_folder.Path).Length;
        var plan = await SoraProcess.RunAsync(["train", _job, "--dry-run", "--json", "--workers", "2"], _folder.Path);

        using var json = JsonDocument.Parse(plan.Output);
        Assert.Equal("plan", json.RootElement.GetProperty("event").GetString());
        Assert.Equal(2 * 2 * 16, json.RootElement.GetProperty("tokens_per_step").GetInt64());
        Assert.Equal(json.RootElement.GetProperty("parameters").GetInt64() * 4, json.RootElement.GetProperty("bytes_sent_per_step_per_worker").GetInt64());
        Assert.Equal(before, Directory.GetFileSystemEntries(_folder.Path).Length);
    }

    private static int FreePort()
    {
        using var listener = new TcpListener(IPAddress.Loopback, 0);
        listener.Start();
        return ((IPEndPoint)listener.LocalEndpoint).Port;
    }

    private static bool IsStep(JsonElement happened) => happened.GetProperty("event").GetString() == "step";

    private static JsonElement[] Events(SoraProcess.Outcome outcome) =>
        outcome.Output.Split('\n', StringSplitOptions.RemoveEmptyEntries).Select(line => JsonDocument.Parse(line).RootElement).ToArray();

    private Task<SoraProcess.Outcome> TrainAsync(params string[] arguments) => SoraProcess.RunAsync(["train", _job, "--json", .. arguments], _folder.Path);
}
