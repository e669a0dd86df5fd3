using Sora.Protocol.Exchange;
using Sora.Protocol.Generations;
using Sora.Protocol.Jobs;

namespace Sora.Worker.Tests.Work;

/// <summary>
/// Workers of a run in one process, over real sockets. Without dropout nothing draws from libtorch's random generator, which
/// is what forbids two trainers in a process otherwise.
/// </summary>
[Collection(TrainerCollection.Name)]
public class GenerationWorkTests(SmallCorpus small) : IClassFixture<SmallCorpus>
{
    [Fact]
    public async Task A_worker_that_joins_from_anothers_memory_and_inherits_its_lanes_ends_with_the_weights_of_the_undisturbed_run()
    {
        var job = small.Job with { MaxSteps = 6, Model = small.Job.Model with { Dropout = 0 } };
        using var undisturbed = new Member(small, "undisturbed", "undisturbed", job);
        var expected = (await undisturbed.Run(Generation(1, 0, [], undisturbed))).WeightsSha256;

        using var first = new Member(small, "a", "changing", job);
        using var second = new Member(small, "b", "changing", job);
        await first.Halt(Generation(1, 0, [], first), after: 2);

        // The second takes the state of step 2 from the first one's memory, then the first is told to leave at once.
        var both = Generation(2, 2, [0], first, second);
        var (leaving, staying) = (first.HaltAtOnce(both, after: 4), second.Broken(both));
        Assert.Equal(("", true), ((await leaving).Reason, (await leaving).Step is 4 or 5));
        Assert.Contains("a", (await staying).Reason);
        Assert.Empty((await staying).Suspects);

        var held = (await staying).Step;
        Assert.True(held is 4 or 5);
        Assert.Equal(expected, (await second.Run(Generation(3, held, [0], second))).WeightsSha256);
        Assert.Equal(Enumerable.Range(1, 6).Select(step => (long)step), first.Steps.Concat(second.Steps).Select(step => step.Step).Distinct());
        Assert.Equal(undisturbed.Steps.Skip(2).Select(step => step.Loss), second.Steps.Select(step => step.Loss));
    }

    [Fact]
    public async Task A_laggard_of_the_last_step_gets_it_although_there_is_nothing_left_to_compute()
    {
        var job = small.Job with { MaxSteps = 2, Model = small.Job.Model with { Dropout = 0 } };
        using var holder = new Member(small, "a", "last", job);
        using var laggard = new Member(small, "b", "last", job);
        var expected = (await holder.Run(Generation(1, 0, [], holder))).WeightsSha256;

        var both = Generation(2, 2, [0], holder, laggard) with { EvaluatedStep = 2, SavedStep = 2 };
        var ends = await Task.WhenAll(holder.Run(both), laggard.Run(both));

        Assert.All(ends, end => Assert.Equal(expected, end.WeightsSha256));
    }

    [Fact]
    public async Task A_worker_told_to_leave_while_it_joins_halts_with_what_it_held_and_can_join_again()
    {
        var job = small.Job with { Model = small.Job.Model with { Dropout = 0 } };
        using var present = new Member(small, "b", "joining", job);
        using var absent = new Member(small, "a", "joining", job);

        var joining = present.Work(Generation(1, 3, [0], absent, present));
        var joined = joining.JoinAsync();
        joining.BreakOff("a member has left");

        var halted = Assert.IsType<WorkerEvent.WorkHalted>(await joined);
        Assert.Equal((1, -1, "", 0), (halted.Generation, halted.Step, halted.Reason, halted.Suspects.Count));
        Assert.Equal(4, (await present.Run(Generation(2, 0, [], present))).Step);
    }

    [Fact]
    public async Task A_generation_that_counts_on_a_state_the_worker_does_not_hold_is_an_error()
    {
        using var member = new Member(small, "a", "odd", small.Job);

        await Assert.ThrowsAsync<InvalidOperationException>(() => member.Work(Generation(1, 3, [0], member)).JoinAsync());
    }

    private WorkerGeneration Generation(long number, long firstStep, IReadOnlyList<int> holders, params Member[] members) =>
        new("run", number,
            [.. members.Select((member, rank) => new ExchangeMember(member.Name, LaneRange.OfWorker(rank, members.Length, small.Job.Lanes), member.Endpoints))],
            firstStep, new byte[32])
        { Holders = holders };
}
