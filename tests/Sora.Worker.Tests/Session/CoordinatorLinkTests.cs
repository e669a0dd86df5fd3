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
