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
        var bursts = Enumerable.Range(0, 15).Select(_ => Burst()).ToArray();
        var rates = bursts.Select(burst => burst.Wall).Order().ToArray();
        var info = TorchInfo.Read();
        Console.WriteLine($"fp32 {Size}^3, libtorch {info.Version} ({info.CpuCapability}), one thread, 15 bursts");
        Console.WriteLine($"best {rates[^1]:F1} GFLOP/s, median {rates[rates.Length / 2]:F1} GFLOP/s; by processor time best {bursts.Max(burst => burst.Processor):F1} GFLOP/s");
        return 0;
    }

    /// <summary>GFLOP/s of four products in a row, by the clock and by the processor time they took.</summary>
    public static (double Wall, double Processor) Burst()
    {
        const int Products = 4;
        using var scope = NewDisposeScope();
        var (left, right) = (ones(Size, Size), ones(Size, Size));
        left.matmul(right).Dispose();
        var (clock, processor) = (Stopwatch.StartNew(), ProcessorSeconds());
        for (var i = 0; i < Products; i++)
            left.matmul(right).Dispose();
        const double Work = Products * 2.0 * Size * Size * Size / 1e9;
        return (Work / clock.Elapsed.TotalSeconds, Work / (ProcessorSeconds() - processor));
    }

    /// <summary>Processor time of this process so far.</summary>
    public static double ProcessorSeconds()
    {
        using var process = Process.GetCurrentProcess();
        return process.TotalProcessorTime.TotalSeconds;
    }
}
