using System.Runtime.InteropServices;
using Sora.Model.Native;
using TorchSharp;

namespace Sora.Model.Tests.Native;

public class MemoryErrorsTests
{
    [Fact]
    public void Explain_WhatLibtorchSaysOfATensorLargerThanTheMachine_IsASizeAndAdvice()
    {
        TorchRuntime.Load();
        var refused = Assert.Throws<ExternalException>(() => torch.zeros(1L << 50)); // 4 PiB: no system promises that

        var explained = MemoryErrors.Explain(refused)!;
        Assert.StartsWith("There is not enough memory: 4194304 GiB more were asked for", explained.Message);
        Assert.DoesNotContain("alloc_cpu", explained.Message);
    }

    [Theory]
    [InlineData("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 23.69 GiB", "2.00 GiB more were asked for")]
    [InlineData("Storage size calculation overflowed with sizes=[4000000000, 4000000000]", "larger than any memory")]
    public void Explain_OtherWords_AreUnderstoodToo(string message, string expected) =>
        Assert.Contains(expected, MemoryErrors.Explain(new ExternalException(message))!.Message);

    [Fact]
    public void Explain_AnotherError_IsLeftAlone() =>
        Assert.Null(MemoryErrors.Explain(new ExternalException("mat1 and mat2 shapes cannot be multiplied")));
}
