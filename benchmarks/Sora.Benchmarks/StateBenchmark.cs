using System.Diagnostics;
using System.Globalization;
using System.Net;
using System.Runtime.InteropServices;
using Microsoft.Extensions.Logging.Abstractions;
using Sora.Protocol.Exchange;
using Sora.Protocol.Generations;
using Sora.Protocol.Wire;
using Sora.Worker.Exchange;

namespace Sora.Benchmarks;

/// <summary>How fast a joiner takes over the state from the memory of one or more holders on the same host.</summary>
internal static class StateBenchmark
{
    private const int Rounds = 7;

    public static int Run(string[] arguments)
    {
        var megabytes = arguments.Length > 0 ? int.Parse(arguments[0], CultureInfo.InvariantCulture) : 400;
        var holders = arguments.Length > 1 ? arguments[1..].Select(count => int.Parse(count, CultureInfo.InvariantCulture)).ToArray() : [1, 2, 3];
        Console.WriteLine($"A state of {megabytes} MB, all workers in one process; best and median of {Rounds} rounds after one to warm up; MB/s");
        Console.WriteLine($"{RuntimeInformation.FrameworkDescription}, {RuntimeInformation.RuntimeIdentifier}, {Environment.ProcessorCount} cores");
        Console.WriteLine();
        Console.WriteLine($"{"",-34}{"best",8}{"median",8}");
        using var served = new NativeFloats(megabytes * 250_000L);
        using var taken = new NativeFloats(megabytes * 250_000L);
        foreach (var count in holders)
        {
            foreach (var tcp in new[] { false, true })
            {
                var rates = Rates(served.Address, taken.Address, megabytes * 1_000_000L, count, tcp);
                Console.WriteLine($"{count + " holder" + (count > 1 ? "s" : "") + (tcp ? ", tcp" : ", unix"),-34}{rates[^1],8:F0}{rates[rates.Length / 2],8:F0}");
            }
        }
        return 0;
    }

    /// <summary>Each round is a generation of its own, over the same listeners.</summary>
    private static double[] Rates(nint served, nint taken, long bytes, int holders, bool tcp)
    {
        var folder = Directory.CreateTempSubdirectory("sora-");
        var listeners = Enumerable.Range(0, holders + 1)
            .Select(rank => tcp ? new ExchangeListener(null, IPAddress.Loopback) : new ExchangeListener(Path.Combine(folder.FullName, $"{rank}"), null)).ToList();
        var members = listeners.Select((listener, rank) =>
            new ExchangeMember($"worker-{rank}", LaneRange.OfWorker(rank, holders + 1, holders + 1), listener.Endpoints)).ToList();
        var rates = new double[Rounds];
        for (var round = -1; round < Rounds; round++)
        {
            var exchanges = Task.WhenAll(listeners.Select((listener, rank) => MeshExchange.ConnectAsync(
                new ExchangeGroup(new ExchangeIdentity("benchmark", round + 2, members.Count, rank, new byte[32]), members), listener, 1000,
                rank < holders ? [new StateRegion(served, bytes)] : [], TimeSpan.FromMinutes(1), TimeProvider.System, NullLogger.Instance, CancellationToken.None)))
                .GetAwaiter().GetResult();
            var clock = Stopwatch.StartNew();
            exchanges[holders].FetchState([.. Enumerable.Range(0, holders)], [new StateRegion(taken, bytes)], CancellationToken.None);
            if (round >= 0)
                rates[round] = bytes / 1e6 / clock.Elapsed.TotalSeconds;
            foreach (var exchange in exchanges)
                exchange.Dispose();
        }
        listeners.ForEach(listener => listener.Dispose());
        folder.Delete(recursive: true);
        Array.Sort(rates);
        return rates;
    }
}
