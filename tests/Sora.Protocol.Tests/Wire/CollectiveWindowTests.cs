using Sora.Protocol.Wire;

namespace Sora.Protocol.Tests.Wire;

public class CollectiveWindowTests
{
    [Theory]
    [InlineData(6, FrameVerdict.Drop)]
    [InlineData(7, FrameVerdict.Take)]
    [InlineData(8, FrameVerdict.Take)]
    [InlineData(9, FrameVerdict.Reject)]
    public void A_peer_may_be_one_collective_ahead_and_late_frames_are_dropped(long sequence, FrameVerdict expected)
    {
        Assert.Equal(expected, Judge(Frame(ExchangePhase.GradientScatter, sequence)));
        Assert.Equal(expected, Judge(Frame(ExchangePhase.Totals, sequence)));
    }

    [Fact]
    public void Nobody_can_be_ahead_of_a_worker_that_has_not_begun()
    {
        Assert.Equal(FrameVerdict.Take, Judge(Frame(ExchangePhase.Totals, 7), inProgress: false));
        Assert.Equal(FrameVerdict.Reject, Judge(Frame(ExchangePhase.Totals, 8), inProgress: false));
    }

    [Fact]
    public void A_result_that_lacks_this_workers_share_cannot_exist()
    {
        Assert.Equal(FrameVerdict.Take, Judge(Frame(ExchangePhase.GradientResult, 7)));
        Assert.Equal(FrameVerdict.Reject, Judge(Frame(ExchangePhase.GradientResult, 7), inProgress: false));
        Assert.Equal(FrameVerdict.Reject, Judge(Frame(ExchangePhase.GradientResult, 8)));
    }

    [Fact]
    public void Other_runs_and_older_generations_are_harmless_and_newer_ones_are_not()
    {
        Assert.Equal(FrameVerdict.Drop, Judge(Frame(ExchangePhase.Totals, 7) with { Run = 2 }));
        Assert.Equal(FrameVerdict.Drop, Judge(Frame(ExchangePhase.Totals, 7) with { Generation = 2 }));
        Assert.Equal(FrameVerdict.Reject, Judge(Frame(ExchangePhase.Totals, 7) with { Generation = 4 }));
    }

    [Fact]
    public void A_handshake_frame_has_no_place_after_the_handshake() =>
        Assert.Equal(FrameVerdict.Reject, Judge(Frame(ExchangePhase.Greeting, 7)));

    [Theory]
    [InlineData(ExchangePhase.StateRequest, true, false)]
    [InlineData(ExchangePhase.StateChunk, false, true)]
    [InlineData(ExchangePhase.StateMismatch, false, true)]
    public void State_is_asked_of_those_who_serve_it_and_comes_to_those_who_fetch_it(ExchangePhase phase, bool serving, bool fetching)
    {
        foreach (var inProgress in new[] { false, true })
        {
            Assert.Equal(FrameVerdict.Take, State(phase, 0, inProgress, serving, fetching));
            Assert.Equal(FrameVerdict.Reject, State(phase, 0, inProgress, !serving, !fetching));
        }
    }

    [Fact]
    public void State_that_a_collective_has_changed_is_nobodys_to_take_over()
    {
        Assert.Equal(FrameVerdict.Reject, State(ExchangePhase.StateRequest, 1, false, serving: true, fetching: true));
        Assert.Equal(FrameVerdict.Reject, State(ExchangePhase.StateChunk, 1, false, serving: true, fetching: true));
        Assert.Equal(FrameVerdict.Reject, State(ExchangePhase.StateProgress, 1, false, serving: true, fetching: true));
    }

    [Fact]
    public void State_of_older_generations_is_harmless() =>
        Assert.Equal(FrameVerdict.Drop, CollectiveWindow.Judge(Frame(ExchangePhase.StateChunk, 0) with { Generation = 2 }, 1, 3, 0, false, serving: false, fetching: false));

    private static FrameVerdict State(ExchangePhase phase, long current, bool inProgress, bool serving, bool fetching) =>
        CollectiveWindow.Judge(Frame(phase, current), 1, 3, current, inProgress, serving, fetching);

    private static FrameHeader Frame(ExchangePhase phase, long sequence) => new(1, 3, sequence, 40, phase, 0, default, 0, 0);

    private static FrameVerdict Judge(FrameHeader frame, bool inProgress = true) => CollectiveWindow.Judge(frame, 1, 3, 7, inProgress, serving: false, fetching: false);
}
