using Sora.Model.Native;
using Sora.Model.Tests.Zoo;
using TorchSharp;
using static TorchSharp.torch;

namespace Sora.Model.Tests.Native;

[Collection(LibtorchCollection.Name)]
public class DispatcherTests
{
    [Fact]
    public void Dispatcher_PassesItsSelfTest() => Assert.True(Dispatcher.Available);

    [Fact]
    public void RmsNorm_EqualsItsFormula_ForwardAndBackward()
    {
        using var scope = NewDisposeScope();
        manual_seed(1);
        var input = randn(3, 5, 8, dtype: ScalarType.Float64, requires_grad: true);
        var weight = rand(8, dtype: ScalarType.Float64, requires_grad: true);
        var input2 = input.detach().requires_grad_();
        var weight2 = weight.detach().requires_grad_();

        var actual = Dispatcher.RmsNorm(input, weight, 1e-3);
        var expected = input2 / (input2.pow(2).mean([-1], keepdim: true) + 1e-3).sqrt() * weight2;
        actual.pow(3).sum().backward();
        expected.pow(3).sum().backward();

        Near.Equal(expected, actual, 1e-12);
        Near.Equal(input2.grad!, input.grad!, 1e-10);
        Near.Equal(weight2.grad!, weight.grad!, 1e-10);
    }

    [Fact]
    public void ManyCalls_LeakNoTensors()
    {
        using var outer = NewDisposeScope();
        var input = randn(4, 8);
        var weight = ones(8);
        var before = Tensor.TotalCount;
        for (var i = 0; i < 1000; i++)
            Dispatcher.RmsNorm(input, weight, 1e-5).Dispose();

        Assert.InRange(Tensor.TotalCount, 0, before); // fewer when finalizers of earlier tests ran
    }
}
