using System.Text.Json;
using Sora.Cli.Display;
using Sora.Cli.Shell;
using Sora.Cli.Train;
using Sora.Protocol.Jobs;
using Sora.Protocol.Runs;

namespace Sora.Cli.Tests.Display;

public class DisplayTests
{
    private static readonly StepCommitted Step = new(10, 3.58621, 1.3062, 1e-3, 3276.4, 2, 8192, 0.5, 0.1, 0.01);
    private static readonly RunStarted Started = new("r1", "quickstart", 0, 500, 2, 4, 5_300_000, 8192, "cpu", "fp32");

    private readonly StringWriter _output = new();
    private readonly StringWriter _errors = new();
    private readonly ManualClock _clock = new();

    private PlainDisplay Plain => new(_output, _errors, _clock);

    [Fact]
    public void A_step_in_json_has_the_documented_keys_first_event()
    {
        var line = RunJson.Write(Step);

        Assert.StartsWith("""{"event":"step","step":10,"loss":3.58621,"grad_norm":1.3062,"learning_rate":0.001,"tokens_per_second":3276.4,"workers":2,""", line);
        Assert.DoesNotContain('\n', line);
    }

    [Fact]
    public void The_finish_in_json_is_as_documented()
    {
        Assert.Equal("""{"event":"finished","step":500,"loss":3.1,"eval_loss":3.2,"weights_sha256":"ab","output_dir":"/tmp/x"}""",
            RunJson.Write(new RunFinished(500, 3.1, 3.2, "ab", "/tmp/x")));
        Assert.Contains("\"eval_loss\":null", RunJson.Write(new RunFinished(500, 3.1, null, "ab", "/tmp/x")));
    }

    [Fact]
    public void Every_event_has_a_name()
    {
        RunEvent[] events =
        [
            Started, Step, new WorkerJoined("w", "h", 1, "cpu", "c", true), new WorkerRefused("w", "h", 1, "no"), new WorkerLeft("w", "r"), new RunWaiting(1, 2, 3), new GenerationFormed(1, ["a", "b"], 0),
            new Evaluated(1, 2, 3, 4, 5), new CheckpointSaved(1, "p", "s", 2), new RunWarning("m"), new RunFinished(1, 2, null, "w", "o"),
            new RunStopped(1, null, "r"), new RunFailed(1, "m", null, null, 1), new DataReady("d", "h", 1, 2, 3), new TextSampled("p", "t"), new LossCurveDrawn("p"), new CoordinatorListening("a", "f"), new WorkerRestarting("w", 1, "r", 0.2), new WorkerStaysDown("w", 1, "r", "y", "l"),
            RunPlan.Of(new TrainingJob(), WorkerRange.Of(2), 300, 1000, 6000, null),
        ];
        foreach (var happened in events)
        {
            using var json = JsonDocument.Parse(RunJson.Write(happened));
            Assert.False(string.IsNullOrEmpty(json.RootElement.GetProperty("event").GetString()));
        }
        // A new event without a name must not reach users as a crash.
        Assert.Equal(typeof(RunEvent).Assembly.GetTypes().Count(type => type.IsSubclassOf(typeof(RunEvent))), events.Count(e => e.GetType().Assembly == typeof(RunEvent).Assembly));
    }

    [Fact]
    public void Numbers_that_are_not_finite_are_shown_not_hidden()
    {
        var diverged = Step with { Loss = double.NaN, GradNorm = double.PositiveInfinity };

        Assert.Contains("\"loss\":\"NaN\",\"grad_norm\":\"Infinity\"", RunJson.Write(diverged));
        Assert.Contains("loss: NaN  grad_norm: Infinity", RunLines.Of(diverged, 500, null));
    }

    [Fact]
    public void Plain_lines_read_like_torchtitan_and_guess_the_end_from_the_wall_clock()
    {
        var display = Plain;
        display.Show(Started);
        display.Show(Step);
        _clock.Advance(TimeSpan.FromSeconds(20));
        display.Show(Step with { Step = 20 });

        var lines = _output.ToString().Split('\n', StringSplitOptions.RemoveEmptyEntries);
        Assert.Equal("run quickstart: 5.3M parameters, 2 workers, 4 lanes, 8,192 tokens a step, cpu fp32, steps 0..500", lines[0]);
        Assert.Equal("step: 10/500  loss: 3.5862  grad_norm: 1.31  tps: 3,276  eta: 20m25s", lines[1]);
        Assert.Equal("step: 20/500  loss: 3.5862  grad_norm: 1.31  tps: 3,276  eta: 16m00s", lines[2]);
    }

    [Fact]
    public void A_change_of_membership_is_told_with_who_went_who_came_and_from_which_step()
    {
        var display = Plain;
        display.Show(new GenerationFormed(1, ["worker-0", "worker-1", "worker-2"], 0));
        display.Show(new WorkerLeft("worker-1", "killed by signal 9"));
        display.Show(new GenerationFormed(2, ["worker-0", "worker-2"], 120));
        display.Show(new GenerationFormed(3, ["worker-0", "worker-1", "worker-2"], 150));

        Assert.Equal(
            ["worker worker-1 left: killed by signal 9", "generation 2: worker-0, worker-2 from step 120 (without worker-1)", "generation 3: worker-0, worker-1, worker-2 from step 150 (with new worker-1)"],
            _output.ToString().Split('\n', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries));
    }

    [Fact]
    public void Hundreds_of_workers_are_counted_not_listed()
    {
        var display = Plain;
        display.Show(new GenerationFormed(4, [.. Enumerable.Range(0, 200).Select(number => $"worker-{number}")], 7));

        Assert.Equal("generation 4: 200 workers from step 7", _output.ToString().Trim());
    }

    [Fact]
    public void A_run_that_waits_says_for_how_many()
    {
        Plain.Show(new RunWaiting(1, 2, 40));

        Assert.Equal("waiting after step 40: 1 worker is here, 2 must be", _output.ToString().Trim());
    }

    [Fact]
    public void A_worker_that_left_in_good_order_is_no_news_but_one_that_is_given_up_is_a_warning()
    {
        var display = Plain;
        display.Show(new WorkerStaysDown("worker-1", 7, "exit code 0", "", "worker-1.log"));
        display.Show(new WorkerStaysDown("worker-2", 8, "exit code 1", "it was refused", "worker-2.log"));

        Assert.Equal(("", "sora: worker-2 (process 8) ended, exit code 1, and stays down: it was refused. Its log: worker-2.log"), (_output.ToString(), _errors.ToString().Trim()));
    }

    [Fact]
    public void Warnings_go_to_stderr()
    {
        Plain.Show(new RunWarning("careful"));

        Assert.Equal(("sora: warning: careful\n", ""), (_errors.ToString().ReplaceLineEndings("\n"), _output.ToString()));
    }

    [Fact]
    public void Data_progress_towards_a_known_end_is_a_line_each_tenth_however_fast()
    {
        var display = Plain;
        for (var i = 3; i <= 250; i++) display.Show(new DataProgress("tokenizing", i, 250, "documents"));

        var lines = _output.ToString().Split('\n', StringSplitOptions.RemoveEmptyEntries);
        Assert.Equal(11, lines.Length);
        Assert.Equal("data: tokenizing 3 documents of 250 documents", lines[0].TrimEnd());
        Assert.Equal("data: tokenizing 25 documents of 250 documents", lines[1].TrimEnd());
        Assert.Equal("data: tokenizing 250 documents of 250 documents", lines[^1].TrimEnd());
    }

    [Fact]
    public void Data_progress_without_a_known_end_is_a_line_every_two_seconds()
    {
        var display = Plain;
        for (var i = 0; i < 10; i++)
        {
            display.Show(new DataProgress("downloading", i, null, "B"));
            _clock.Advance(TimeSpan.FromSeconds(0.5));
        }

        Assert.Equal(3, _output.ToString().Split('\n', StringSplitOptions.RemoveEmptyEntries).Length);
    }

    [Fact]
    public void A_run_whose_output_is_lost_is_told_so_once_and_keeps_what_it_would_have_said_last()
    {
        var told = 0;
        var display = new GuardedDisplay(new PlainDisplay(new FullWriter(), _errors, _clock)) { WhenLost = _ => told++ };
        display.Show(Step);
        display.Show(new CheckpointSaved(10, "p", "s", 2));

        Assert.Equal(1, told);
        Assert.False(display.Lost!.ReaderHasGone);
        Assert.IsType<CheckpointSaved>(display.Unseen);
    }

    [Fact]
    public void Smoothing_starts_at_the_first_value_and_steps_over_nan()
    {
        var average = new SmoothedLoss(0.9);

        Assert.Equal(4.0, average.Add(4.0), 12);
        Assert.Equal((0.9 * 4.0 + 2.0) / 1.9, average.Add(2.0), 12);
        Assert.Equal((0.9 * 4.0 + 2.0) / 1.9, average.Add(double.NaN), 12);
        Assert.True(double.IsNaN(new SmoothedLoss().Add(double.NaN)));
    }

    [Fact]
    public void The_curve_is_an_svg_with_raw_smoothed_and_evaluated_loss()
    {
        using var folder = new TemporaryFolder();
        var path = Path.Combine(folder.Path, "loss.svg");
        var steps = Enumerable.Range(1, 50).Select(i => Step with { Step = i, Loss = i == 25 ? double.NaN : 5.0 / i }).ToArray();

        LossCurve.Draw("a run", steps, [new Evaluated(50, 1.5, 4, 2, 100)], path);

        var svg = File.ReadAllText(path);
        Assert.Contains("<svg", svg);
        Assert.Contains("smoothed", svg);
        Assert.Contains("held out", svg);
        Assert.Contains("NaN", svg);
    }

    [Theory]
    [InlineData(12, "12s")]
    [InlineData(59.7, "1m00s")]
    [InlineData(80, "1m20s")]
    [InlineData(3720, "1h02m")]
    [InlineData(180000, "2d02h")]
    public void Durations_are_short(double seconds, string expected) => Assert.Equal(expected, Format.Duration(TimeSpan.FromSeconds(seconds)));

    [Theory]
    [InlineData(512, "512 B")]
    [InlineData(22_229_811, "21.2 MiB")]
    public void Bytes_are_binary(double bytes, string expected) => Assert.Equal(expected, Format.Bytes(bytes));

    private sealed class FullWriter : StringWriter
    {
        public override void WriteLine(string? value) => throw new OutputLostException(new IOException("No space left on device"), readerHasGone: false);
    }

    private sealed class ManualClock : TimeProvider
    {
        private long _now;

        public override long TimestampFrequency => TimeSpan.TicksPerSecond;

        public override long GetTimestamp() => _now;

        public void Advance(TimeSpan time) => _now += time.Ticks;
    }
}
