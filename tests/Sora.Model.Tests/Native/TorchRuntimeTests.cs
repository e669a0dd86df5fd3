using Sora.Model.Native;
using TorchSharp;

namespace Sora.Model.Tests.Native;

public class TorchRuntimeTests
{
    [Fact]
    public void Load_Twice_TensorsWork()
    {
        TorchRuntime.Load();
        TorchRuntime.Load();

        Assert.Equal(6, torch.ones(2, 3).sum().item<float>());
    }

    [Fact]
    public void Load_LoadsTheExpectedLibtorch() =>
        Assert.StartsWith(TorchRuntime.ExpectedVersion, TorchRuntime.VersionText(TorchRuntime.Loaded.Abi));
}
