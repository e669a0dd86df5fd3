using Microsoft.Extensions.Time.Testing;
using Sora.Model.Training;
using Sora.Protocol.Api;
using Sora.Worker.Session;

namespace Sora.Worker.Tests.Session;

public class ReportMemoryTests
{
    private readonly FakeTimeProvider _time = new();
    private readonly ReportMemory _memory;

    public ReportMemoryTests() => _memory = new ReportMemory(_time);

    [Fact]
    public void After_a_break_the_last_ones_and_all_unsent_ones_are_told_again()
    {
        Add(1, 200, sent: true);
        _time.Advance(2 * ReportMemory.NoticeTime);
        _memory.Broke();
        Add(201, 210, sent: false);
        _time.Advance(TimeSpan.FromHours(1));

        Assert.Equal(Steps(210 - ReportMemory.Overlap + 1, 210), Steps(_memory.Undelivered()));
    }

    [Fact]
    public void Fast_steps_that_went_out_before_the_break_was_noticed_are_told_again()
    {
        Add(1, 100, sent: true);
        _time.Advance(2 * ReportMemory.NoticeTime);
        Add(101, 1100, sent: true);
        _time.Advance(ReportMemory.NoticeTime);
        _memory.Broke();

        Assert.Equal(Steps(101, 1100), Steps(_memory.Undelivered()));
    }

    [Fact]
    public void What_was_told_again_counts_as_sent_then()
    {
        Add(1, 500, sent: false);
        Assert.Equal(Steps(1, 500), Steps(_memory.Undelivered()));
        _memory.Broke();
        Assert.Equal(Steps(1, 500), Steps(_memory.Undelivered()));
        _time.Advance(2 * ReportMemory.NoticeTime);
        _memory.Broke();
        Assert.Equal(ReportMemory.Overlap, _memory.Undelivered().Count);
    }

    [Fact]
    public void In_a_new_generation_steps_and_evaluations_are_each_told_from_where_people_stand()
    {
        Add(1, 2, sent: false);
        _memory.Add(Messages.Evaluation("run", 1, new EvaluationResult(2, 1, 1, 1)), sent: false);
        Add(3, 4, sent: false);

        var untold = _memory.Untold(reportedStep: 3, evaluatedStep: 1);

        Assert.Equal([FromWorker.BodyOneofCase.Evaluation, FromWorker.BodyOneofCase.Step], untold.Select(report => report.BodyCase));
        Assert.Equal(4ul, untold[1].Step.Step);
    }

    [Fact]
    public void It_forgets_the_oldest_and_what_the_run_goes_back_behind()
    {
        Add(1, ReportMemory.Capacity + 10, sent: false);
        _memory.ForgetAfter(20);

        Assert.Equal(Steps(11, 20), Steps(_memory.Untold(-1, -1)));
    }

    private void Add(int first, int last, bool sent)
    {
        for (var step = first; step <= last; step++)
            _memory.Add(Messages.Step("run", 1, new StepResult(step, 1, 1, 1, 1, false, 0, 0, 0)), sent);
    }

    private static IEnumerable<ulong> Steps(int first, int last) => Enumerable.Range(first, last - first + 1).Select(step => (ulong)step);

    private static IEnumerable<ulong> Steps(IEnumerable<FromWorker> reports) => reports.Select(report => report.Step.Step);
}
