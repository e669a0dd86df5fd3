using Sora.Model.Native;

namespace Sora.Model.Tests.Native;

public class TorchInfoTests
{
    [Fact]
    public void Read_TellsWhatIsLoaded()
    {
        var info = TorchInfo.Read();

        Assert.StartsWith("2.10", info.Version);
        Assert.True(File.Exists(info.TorchSharpLibrary));
        Assert.True(Directory.Exists(info.Folder));
        Assert.Matches("^[A-Za-z0-9 ]+$", info.CpuCapability);
        Assert.True(info.Threads >= 1);
    }

    [Theory]
    [InlineData("gpu")]
    [InlineData("cuda:x")]
    [InlineData("cuda:-1")]
    [InlineData("cuda:99")]
    public void Devices_Resolve_WhatIsNotThere_IsRefused(string device) =>
        Assert.Equal(Protocol.Jobs.ExitCode.Usage, Assert.Throws<Protocol.Jobs.SoraException>(() => Devices.Resolve(device)).ExitCode);
}
