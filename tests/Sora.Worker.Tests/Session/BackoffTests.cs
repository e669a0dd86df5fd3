using CsCheck;
using Sora.Worker.Session;

namespace Sora.Worker.Tests.Session;

public class BackoffTests
{
    [Fact]
    public void Pauses_double_up_to_a_limit_and_vary_in_their_upper_half() => Gen.Int[0, 1000].Sample(seed =>
    {
        var backoff = new Backoff(new Random(seed));
        for (var longest = 0.1; longest < 100; longest *= 2)
            Assert.InRange(backoff.Next().TotalSeconds, Math.Min(longest, 5) / 2, Math.Min(longest, 5));
        backoff.Reset();
        Assert.InRange(backoff.Next().TotalSeconds, 0.05, 0.1);
    }, iter: 100);
}
