using System.Diagnostics;
using System.Globalization;
using System.Net;
using System.Net.Sockets;
using System.Runtime.InteropServices;
using Microsoft.Extensions.Logging.Abstractions;
using Sora.Protocol.Exchange;
using Sora.Protocol.Generations;
using Sora.Protocol.Wire;
using Sora.Worker.Exchange;

namespace Sora.Benchmarks;

/// <summary>
/// How fast two workers of one host sum their gradients: size of the gradient by the time of an all-reduce, beside what the
/// same sockets carry when nothing is framed, checked or added, and what one thread copies in memory.
/// </summary>
internal static class ExchangeBenchmark
{
    private const int Workers = 2;
    private const int Rounds = 9;

    public static int Run(string[] sizes)
    {
        var megabytes = sizes.Length > 0 ? sizes.Select(size => int.Parse(size, CultureInfo.InvariantCulture)).ToArray() : [21, 100];
        Console.WriteLine($"{Workers} workers in one process, fp32, best and median of {Rounds} rounds after one to warm up; MB/s of gradient");
        Console.WriteLine($"{RuntimeInformation.FrameworkDescription}, {RuntimeInformation.RuntimeIdentifier}, {Environment.ProcessorCount} cores");
        Console.WriteLine();
        Console.WriteLine($"{"",-34}{"best",8}{"median",8}");
        foreach (var size in megabytes)
        {
            var bytes = size * 1_000_000;
            using var memory = new NativeFloats(2L * bytes / sizeof(float));
            Print($"{size} MB, copied in memory", bytes, Copies(memory.Address, bytes));
            foreach (var tcp in new[] { false, true })
            {
                var transport = tcp ? "tcp" : "unix";
                Print($"{size} MB, {transport}, bare sockets", bytes, BareSockets(tcp, bytes));
                Print($"{size} MB, {transport}, all-reduce", bytes, AllReduces(tcp, bytes));
            }
        }
        return 0;
    }

    private static unsafe double[] Copies(nint memory, int bytes) => Timed(() => Buffer.MemoryCopy((void*)memory, (void*)(memory + bytes), bytes, bytes));

    private static double[] AllReduces(bool tcp, int bytes)
    {
        using var pair = new Listeners(tcp);
        var lanes = Enumerable.Range(0, Workers).Select(rank => LaneRange.OfWorker(rank, Workers, Workers)).ToArray();
        var members = lanes.Select((range, rank) => new ExchangeMember($"worker-{rank}", range, pair.Of[rank].Endpoints)).ToArray();
        var length = bytes / sizeof(float);
        var exchanges = Task.WhenAll(Enumerable.Range(0, Workers).Select(rank => MeshExchange.ConnectAsync(
            new ExchangeGroup(new ExchangeIdentity("benchmark", 1, Workers, rank, new byte[32]), members), pair.Of[rank], length, [],
            TimeSpan.FromMinutes(1), TimeProvider.System, NullLogger.Instance, CancellationToken.None))).GetAwaiter().GetResult();
        var gradients = exchanges.Select(_ => new NativeFloats(length)).ToArray();
        var times = Together(rank =>
        {
            var step = 0L;
            return () => exchanges[rank].AllReduce(
                step++, [new SubtreeSum(lanes[rank], gradients[rank].Address)], [new LaneTotals(lanes[rank].First, 1, 1)], false, gradients[rank].Address, length);
        });
        foreach (var disposable in exchanges.Cast<IDisposable>().Concat(gradients))
            disposable.Dispose();
        return times;
    }

    // As many bytes each way as an all-reduce between two moves: half the gradient out, half the sum back.
    private static double[] BareSockets(bool tcp, int bytes)
    {
        using var pair = new Listeners(tcp);
        var free = tcp ? new IPEndPoint(IPAddress.Loopback, 0) : (EndPoint)new UnixDomainSocketEndPoint(pair.PathOf("bare"));
        using var listener = ExchangeEndpoint.NewSocket(free);
        listener.Bind(free);
        listener.Listen();
        using var first = ExchangeEndpoint.NewSocket(free);
        first.Connect(listener.LocalEndPoint!);
        using var second = listener.Accept();
        var sockets = new[] { first, second };
        return Together(rank =>
        {
            var block = new byte[MeshExchange.FrameLength * sizeof(float)];
            var received = new byte[block.Length];
            return () =>
            {
                var sender = new Thread(() =>
                {
                    for (var sent = 0; sent < bytes; sent += block.Length)
                        SocketFrames.Send(sockets[rank], block.AsSpan(0, Math.Min(block.Length, bytes - sent)));
                });
                sender.Start();
                for (var got = 0; got < bytes; got += received.Length)
                    SocketFrames.Receive(sockets[rank], received.AsSpan(0, Math.Min(received.Length, bytes - got)));
                sender.Join();
            };
        });
    }

    /// <summary>Runs both workers at once and times the rounds of the first.</summary>
    private static double[] Together(Func<int, Action> worker)
    {
        var times = new double[Workers][];
        var threads = Enumerable.Range(0, Workers).Select(rank => new Thread(() => times[rank] = Timed(worker(rank)))).ToList();
        threads.ForEach(thread => thread.Start());
        threads.ForEach(thread => thread.Join());
        return times[0];
    }

    private static double[] Timed(Action round)
    {
        round();
        var seconds = new double[Rounds];
        for (var i = 0; i < Rounds; i++)
        {
            var clock = Stopwatch.StartNew();
            round();
            seconds[i] = clock.Elapsed.TotalSeconds;
        }
        return seconds;
    }

    private static void Print(string name, int bytes, double[] seconds)
    {
        Array.Sort(seconds);
        Console.WriteLine($"{name,-34}{bytes / 1e6 / seconds[0],8:F0}{bytes / 1e6 / seconds[seconds.Length / 2],8:F0}");
    }

    /// <summary>A listener a worker, and the folder their sockets are in.</summary>
    private sealed class Listeners(bool tcp) : IDisposable
    {
        private readonly DirectoryInfo _folder = Directory.CreateTempSubdirectory("sora-");
        private ExchangeListener[]? _of;

        public ExchangeListener[] Of => _of ??= [.. Enumerable.Range(0, Workers).Select(rank =>
            tcp ? new ExchangeListener(null, IPAddress.Loopback) : new ExchangeListener(PathOf($"{rank}"), null))];

        public string PathOf(string name) => Path.Combine(_folder.FullName, name);

        public void Dispose()
        {
            foreach (var listener in Of)
                listener.Dispose();
            _folder.Delete(recursive: true);
        }
    }
}
