using Sora.Cli.Train;
using Sora.Protocol.Jobs;

namespace Sora.Cli.Tests.Train;

public class RestartPolicyTests
{
    private const int Killed = 137;

    [Fact]
    public void A_worker_that_dies_again_and_again_in_vain_is_started_after_ever_longer_pauses_and_then_no_more()
    {
        var policy = new RestartPolicy(null);

        var pauses = Enumerable.Range(0, RestartPolicy.AttemptsInVain).Select(_ => policy.Decide("worker-0", Killed).Pause!.Value.TotalSeconds).ToArray();
        Assert.Equal([0.2, 0.4, 0.8, 1.6, 3.2], pauses.Select(pause => Math.Round(pause, 6)));
        var last = policy.Decide("worker-0", Killed);
        Assert.Null(last.Pause);
        Assert.Contains("5 times in a row without taking part in a step", last.Why);
        Assert.NotNull(policy.Decide("worker-1", Killed).Pause);
    }

    [Fact]
    public void A_worker_that_took_part_in_a_step_begins_anew()
    {
        var policy = new RestartPolicy(-1);
        for (var death = 0; death < 100; death++)
        {
            Assert.Equal(TimeSpan.FromSeconds(0.2), policy.Decide("worker-0", Killed).Pause);
            policy.Succeeded("worker-0");
        }
    }

    [Theory]
    [InlineData(ExitCode.Ok, "")]
    [InlineData(ExitCode.Resumable, "")]
    [InlineData(ExitCode.Usage, "would end the same way")]
    [InlineData(ExitCode.InvalidInput, "would end the same way")]
    [InlineData(ExitCode.Diverged, "would end the same way")]
    public void Who_left_on_purpose_or_would_fail_again_stays_down(int exitCode, string why)
    {
        var decision = new RestartPolicy(null).Decide("worker-0", exitCode);

        Assert.Null(decision.Pause);
        if (why.Length == 0) Assert.Empty(decision.Why);
        else Assert.Contains(why, decision.Why);
    }

    [Fact]
    public void Who_was_refused_stays_down()
    {
        var policy = new RestartPolicy(null);
        policy.Refused("worker-0");

        Assert.Null(policy.Decide("worker-0", ExitCode.Failure).Pause);
        Assert.NotNull(policy.Decide("worker-1", ExitCode.Failure).Pause);
    }

    [Fact]
    public void Max_restarts_counts_all_workers_together()
    {
        var policy = new RestartPolicy(2);
        Assert.NotNull(policy.Decide("worker-0", Killed).Pause);
        policy.Succeeded("worker-0");
        Assert.NotNull(policy.Decide("worker-1", ExitCode.Unreachable).Pause);

        var third = policy.Decide("worker-0", Killed);
        Assert.Null(third.Pause);
        Assert.Contains("max_restarts is 2", third.Why);
        Assert.Null(new RestartPolicy(0).Decide("worker-0", Killed).Pause);
    }
}
