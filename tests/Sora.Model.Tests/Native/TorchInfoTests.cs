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
        Assert.SkipUnless(OperatingSystem.IsLinux(), "libtorch tells how it was built on Linux only.");
        Assert.Contains(info.BuiltWith, library => library.StartsWith("BLAS", StringComparison.Ordinal));
    }

    [Fact]
    public void MathLibraries_OfACudaBuild_AreNamedWithTheirVersions()
    {
        const string configuration = """
            PyTorch built with:
              - GCC 11.2
              - Intel(R) oneAPI Math Kernel Library Version 2024.2-Product Build 20240605 for Intel(R) 64 architecture applications
              - OpenMP 201511 (a.k.a. OpenMP 4.5)
              - CPU capability usage: AVX512
              - CUDA Runtime 12.8
              - NVCC architecture flags: -gencode;arch=compute_90,code=sm_90
              - CuDNN 91.0.2  (built against CUDA 12.9)
              - Build settings: BLAS_INFO=mkl, BUILD_TYPE=Release, USE_OPENMP=ON,
            """;

        Assert.Equal(["BLAS mkl", "Intel(R) oneAPI Math Kernel Library Version 2024.2", "OpenMP 201511", "CUDA Runtime 12.8", "CuDNN 91.0.2"],
            TorchInfo.MathLibraries(configuration.ReplaceLineEndings("\n")));
    }

    [Theory]
    [InlineData("gpu")]
    [InlineData("cuda:x")]
    [InlineData("cuda:-1")]
    [InlineData("cuda:99")]
    public void Devices_Resolve_WhatIsNotThere_IsRefused(string device) =>
        Assert.Equal(Protocol.Jobs.ExitCode.Usage, Assert.Throws<Protocol.Jobs.SoraException>(() => Devices.Resolve(device)).ExitCode);
}
