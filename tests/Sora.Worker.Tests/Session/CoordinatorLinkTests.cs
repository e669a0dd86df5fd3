using Microsoft.Extensions.Logging.Abstractions;
using Microsoft.Extensions.Time.Testing;
using Sora.Protocol.Api;
using Sora.Worker.Session;

namespace Sora.Worker.Tests.Session;

public class CoordinatorLinkTests
{
    private readonly FakeTimeProvider _time = new();

    [Fact]
    public async Task It_goes_round_the_list_and_after_a_break_on_to_the_next()
    {
        var coordinators = new FakeCoordinator { Coordinators = ["one", "two", "three"], OnDial = at => at == 1 ? null : new CoordinatorLostException("nobody", refused: false) };
        var owner = new Owner();
        using var end = new CancellationTokenSource();
        var linking = new CoordinatorLink(coordinators, owner, new Random(1), _time, NullLogger.Instance).RunAsync(end.Token, end.Token);
        await coordinators.Accept();
        coordinators.Break();
        var again = coordinators.Accept();
        while (!again.IsCompleted)
        {
            _time.Advance(TimeSpan.FromMilliseconds(50));
            await Task.Yield();
        }
        await end.CancelAsync();
        await linking;

        Assert.Equal([0, 1, 2, 0, 1], coordinators.Dialled);
        Assert.Equal(["linked", "unlinked: it closed the stream", "linked"], owner.Log.Take(3));
    }

    [Fact]
    public async Task It_gives_up_with_the_addresses_and_the_last_reason()
    {
        var coordinators = new FakeCoordinator { Coordinators = ["one", "two"], OnDial = at => new CoordinatorLostException($"nobody at {at}.", refused: false) };
        var owner = new Owner();
        var linking = new CoordinatorLink(coordinators, owner, new Random(1), _time, NullLogger.Instance).RunAsync(TestContext.Current.CancellationToken, TestContext.Current.CancellationToken);
        while (!linking.IsCompleted)
        {
            _time.Advance(TimeSpan.FromMilliseconds(50));
            await Task.Yield();
        }

        Assert.StartsWith("no coordinator answered at one or two within 30 s (nobody at ", Assert.Single(owner.Log));
    }

    [Fact]
    public async Task What_accepts_a_stream_and_breaks_it_without_a_word_is_given_up_as_what_does_not_answer()
    {
        var coordinators = new FakeCoordinator { Coordinators = ["one"] };
        var owner = new Owner();
        var linking = new CoordinatorLink(coordinators, owner, new Random(1), _time, NullLogger.Instance).RunAsync(TestContext.Current.CancellationToken, TestContext.Current.CancellationToken);
        for (var dials = 0; !linking.IsCompleted && dials < 1000; dials++)
        {
            var accepting = coordinators.Accept();
            while (!accepting.IsCompleted && !linking.IsCompleted)
            {
                _time.Advance(TimeSpan.FromMilliseconds(50));
                await Task.Yield();
            }
            if (accepting.IsCompleted)
                coordinators.Break(new CoordinatorLostException("no HTTP/2.", refused: false));
        }

        Assert.True(linking.IsCompleted);
        Assert.StartsWith("no coordinator answered at one within 30 s (no HTTP/2)", owner.Log[^1]);
    }

    [Fact]
    public async Task A_coordinator_that_had_nothing_to_say_is_looked_for_as_long_as_any_other()
    {
        var coordinators = new FakeCoordinator { Coordinators = ["one"] };
        var owner = new Owner();
        using var end = new CancellationTokenSource();
        var linking = new CoordinatorLink(coordinators, owner, new Random(1), _time, NullLogger.Instance).RunAsync(end.Token, end.Token);
        await coordinators.Accept();
        _time.Advance(TimeSpan.FromMinutes(5));
        coordinators.Break();
        var again = coordinators.Accept();
        while (!again.IsCompleted && !linking.IsCompleted)
        {
            _time.Advance(TimeSpan.FromMilliseconds(50));
            await Task.Yield();
        }
        await end.CancelAsync();
        await linking;

        Assert.Equal(["linked", "unlinked: it closed the stream", "linked"], owner.Log.Take(3));
    }

    private sealed class Owner : ILinkOwner
    {
        public List<string> Log { get; } = [];

        public bool Useful { get; init; } = true;

        public TimeSpan Patience => TimeSpan.FromSeconds(30);

        public void Linked(ICoordinatorStream stream) => Log.Add("linked");

        public void Unlinked(string reason) => Log.Add("unlinked: " + reason);

        public bool Heard(FromCoordinator message)
        {
            Log.Add($"heard {message.BodyCase}");
            return Useful;
        }

        public void TurnedAway(string reason) => Log.Add("turned away: " + reason);

        public void GaveUp(string reason) => Log.Add(reason);
    }
}
