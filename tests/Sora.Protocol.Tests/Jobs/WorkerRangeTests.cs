using Sora.Protocol.Jobs;

namespace Sora.Protocol.Tests.Jobs;

public class WorkerRangeTests
{
    [Theory]
    [InlineData("3", 1, 3, 3)]
    [InlineData("1", 1, 1, 1)]
    [InlineData("2:4", 2, 2, 4)]
    [InlineData("2:2", 2, 2, 2)]
    [InlineData("1:4", 1, 1, 4)]
    public void A_count_goes_on_with_whoever_is_left_and_a_range_waits_below_its_least(string text, int least, int start, int most)
    {
        var range = WorkerRange.Parse(text)!.Value;

        Assert.Equal((least, start, most), (range.Least, range.Start, range.Most));
        Assert.Equal(text, range.ToString());
    }

    [Theory]
    [InlineData("")]
    [InlineData("two")]
    [InlineData("1:")]
    [InlineData(":2")]
    [InlineData("1:2:3")]
    [InlineData("1.5")]
    public void Anything_else_is_none(string text) => Assert.Null(WorkerRange.Parse(text));
}
