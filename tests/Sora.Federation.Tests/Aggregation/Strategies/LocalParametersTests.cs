using CsCheck;
using Sora.Federation.Aggregation.Strategies;
using Sora.Protocol.Jobs;

namespace Sora.Federation.Tests.Aggregation.Strategies;

public class LocalParametersTests
{
    [Fact]
    public void Local_parameters_neither_leave_nor_change()
    {
        var mask = new LocalParameters(8, [new(0, 2), new(5, 1)]);
        Assert.Equal([2, 3, 4, 6, 7], mask.Shared([0, 1, 2, 3, 4, 5, 6, 7]));
        float[] model = [0, 1, 2, 3, 4, 5, 6, 7];
        mask.TakeOver([12, 13, 14, 16, 17], model);
        Assert.Equal([0, 1, 12, 13, 14, 5, 16, 17], model);
    }

    [Fact]
    public void What_is_shared_and_taken_over_again_changes_nothing() =>
        Gen.Bool.Array[1, 60].Where(local => local.Contains(false)).Sample(local =>
        {
            var ranges = Enumerable.Range(0, local.Length).Where(i => local[i]).Select(i => new ParameterRange(i, 1)).ToList();
            var mask = new LocalParameters(local.Length, ranges);
            var model = RoundTesting.Values(1, local.Length);
            var copy = model.ToArray();
            Assert.Equal(local.Count(value => !value), mask.SharedCount);
            mask.TakeOver(mask.Shared(model), copy);
            Assert.Equal(model, copy);
        });

    [Theory]
    [InlineData(0, 3, 2, 1)]
    [InlineData(4, 1, 0, 1)]
    [InlineData(0, 1, 7, 2)]
    [InlineData(0, 0, 1, 1)]
    [InlineData(-1, 1, 1, 1)]
    [InlineData(0, 4, 4, 4)]
    [InlineData(0, 1, int.MaxValue, int.MaxValue)]
    public void Ranges_that_make_no_sense_are_refused(int first, int count, int otherFirst, int otherCount) =>
        Assert.Equal(ExitCode.Usage, Assert.Throws<SoraException>(() => new LocalParameters(8, [new(first, count), new(otherFirst, otherCount)])).ExitCode);
}
