using static TorchSharp.torch;

namespace Sora.Model.Tests.Zoo;

/// <summary>Compares tensors.</summary>
internal static class Near
{
    public static void Equal(Tensor expected, Tensor actual, double tolerance)
    {
        Assert.Equal(expected.shape, actual.shape);
        using var scope = NewDisposeScope();
        var difference = (expected.to_type(ScalarType.Float64) - actual.to_type(ScalarType.Float64)).abs().max().item<double>();
        Assert.True(difference <= tolerance, $"The largest difference is {difference:g3}, allowed {tolerance:g3}.");
    }
}
