using System.Diagnostics;
using Sora.Model.Native;
using static TorchSharp.torch;

namespace Sora.Benchmarks;

/// <summary>The rate of fp32 matrix products of 1024^3 on one thread: what the machine can do at best.</summary>
internal static class GemmBenchmark
{
    private const int Size = 1024;

    public static int Run()
    {
        TorchRuntime.Load();
        set_num_threads(1);
        var rates = Enumerable.Range(0, 15).Select(_ => Burst()).Order().ToArray();
        var info = TorchInfo.Read();
        Console.WriteLine($"fp32 {Size}^3, libtorch {info.Version} ({info.CpuCapability}), one thread, 15 bursts");
        Console.WriteLine($"best {rates[^1]:F1} GFLOP/s, median {rates[rates.Length / 2]:F1} GFLOP/s");
        return 0;
    }

    /// <summary>GFLOP/s of four products in a row.</summary>
    public static double Burst()
    {
        const int Products = 4;
        using var scope = NewDisposeScope();
        var (left, right) = (ones(Size, Size), ones(Size, Size));
        left.matmul(right).Dispose();
        var clock = Stopwatch.StartNew();
        for (var i = 0; i < Products; i++)
            left.matmul(right).Dispose();
        return Products * 2.0 * Size * Size * Size / clock.Elapsed.TotalSeconds / 1e9;
    }
}
