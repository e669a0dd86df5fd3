using System.Runtime.InteropServices;
using Sora.Model.Native;
using Sora.Protocol.Jobs;

namespace Sora.Model.Tests.Native;

public class DeviceErrorsTests
{
    [Theory]
    [InlineData("CUDA error: uncorrectable ECC error encountered\nCUDA kernel errors might be reported asynchronously", "(ECC): CUDA error: uncorrectable ECC error encountered. Look at")]
    [InlineData("CUDA error: an illegal memory access was encountered\nFor debugging consider", "The GPU has failed: CUDA error: an illegal memory access was encountered. Look at")]
    [InlineData("CUDA error: CUBLAS_STATUS_EXECUTION_FAILED when calling `cublasSgemm`", "The GPU has failed")]
    [InlineData("cuDNN error: CUDNN_STATUS_INTERNAL_ERROR", "The GPU has failed")]
    public void Explain_AGpuThatFails_SaysSoInOneSentenceAndWhereToLook(string message, string expected)
    {
        var explained = DeviceErrors.Explain(new ExternalException(message))!;

        Assert.Contains(expected, explained.Message);
        Assert.Equal(ExitCode.Failure, explained.ExitCode);
    }

    [Fact]
    public void Explain_AnotherError_IsLeftAlone() =>
        Assert.Null(DeviceErrors.Explain(new ExternalException("mat1 and mat2 shapes cannot be multiplied")));
}
