using System.Net;
using System.Net.Sockets;
using System.Text;
using Microsoft.Extensions.Logging;
using Sora.Protocol.Generations;
using Sora.Protocol.Jobs;
using Sora.Worker.Exchange;
using Sora.Worker.Session;
using Sora.Worker.Work;

namespace Sora.Worker;

/// <summary>A worker: dials a coordinator, proves its numerics, and computes what it is assigned until it is dismissed.</summary>
public static partial class WorkerProcess
{
    private static readonly TimeSpan UnwindTime = TimeSpan.FromSeconds(10);

    /// <summary>Runs a worker to its end.</summary>
    /// <param name="options">What to do.</param>
    /// <param name="stop">
    /// Asks for the worker's end, as SIGTERM does: it finishes the step, hands over its state and its lanes, and leaves.
    /// </param>
    /// <returns>The exit code for the process.</returns>
    /// <exception cref="SoraException">libtorch or the sockets of this machine cannot be used.</exception>
    public static async Task<int> RunAsync(WorkerOptions options, CancellationToken stop)
    {
        var log = options.LoggerFactory.CreateLogger("Sora.Worker");
        using var folder = WorkFolder.Create();
        var training = new TrainingThread();
        try
        {
            using var dialer = new CoordinatorDialer(options);
            using var listener = new ExchangeListener(SocketPath(folder.Path), LocalAddress(options));
            var work = new RunWork(options, new AssignedCorpus(options, new CoordinatorCorpora(dialer), folder.Path));
            var machine = await training.RunAsync(work.Inspect);
            var name = options.Name.Length > 0 ? options.Name : $"{Environment.MachineName}-{Environment.ProcessId}";
            LogStart(log, name, machine.Fingerprint, string.Join(", ", dialer.Coordinators), string.Join(", ", listener.Endpoints));

            var session = new WorkerSession(name, dialer, work, training, listener, machine, options, log);
            await using var stopping = stop.UnsafeRegister(_ => session.Post(new WorkerEvent.DrainSignalled("this worker was told to end")), null);
            if (options.EndWithStandardInput)
                WatchStandardInput(session);
            var exitCode = await session.RunAsync();
            // A step that waits for its data waits no longer.
            dialer.Dispose();
            await UnwindAsync(training, work, log, options.Time);
            return exitCode;
        }
        finally
        {
            training.Dispose();
        }
    }

    /// <summary>Frees the tensors on their own thread; a step that is given up is computed to its end first.</summary>
    private static async Task UnwindAsync(TrainingThread training, IRunWork work, ILogger log, TimeProvider time)
    {
        try
        {
            await training.RunAsync(() =>
            {
                work.Dispose();
                return 0;
            }).WaitAsync(UnwindTime, time);
        }
        catch (TimeoutException)
        {
            LogStillComputing(log, UnwindTime.TotalSeconds);
        }
    }

    /// <summary>A file for the Unix domain socket; null where the system has none or the path is too long for one.</summary>
    private static string? SocketPath(string folder)
    {
        const int longest = 100;
        var path = Path.Combine(folder, "exchange");
        return Socket.OSSupportsUnixDomainSockets && Encoding.UTF8.GetByteCount(path) < longest ? path : null;
    }

    /// <summary>The address peers are to dial: the one given, or the one from which the coordinator is reached.</summary>
    private static IPAddress LocalAddress(WorkerOptions options)
    {
        if (options.BindAddress.Length > 0)
        {
            return IPAddress.TryParse(options.BindAddress, out var given)
                ? given
                : throw new SoraException($"'{options.BindAddress}' is no IP address of this machine to listen on.", ExitCode.Usage);
        }
        if (options.Coordinators.All(coordinator => coordinator.IsLoopback))
            return IPAddress.Loopback;
        SocketException? last = null;
        foreach (var coordinator in options.Coordinators.Where(coordinator => !coordinator.IsLoopback))
        {
            try
            {
                // Connecting a datagram socket sends nothing; it only asks the routing table.
                using var probe = new Socket(SocketType.Dgram, ProtocolType.Udp);
                probe.Connect(coordinator.Host, coordinator.Port);
                var address = ((IPEndPoint)probe.LocalEndPoint!).Address;
                return address.IsIPv4MappedToIPv6 ? address.MapToIPv4() : address;
            }
            catch (SocketException e)
            {
                // The next one may be reachable.
                last = e;
            }
        }
        throw new SoraException(
            $"{string.Join(" and ", options.Coordinators.Select(coordinator => coordinator.Host))} cannot be reached from this machine: {last!.Message}. Check the coordinator's address.",
            ExitCode.Unreachable, last);
    }

    private static void WatchStandardInput(WorkerSession session)
    {
        // A thread of its own: reading standard input cannot be cancelled, and it must not keep the process alive.
        var watch = new Thread(() =>
        {
            using var input = Console.OpenStandardInput();
            var buffer = new byte[64];
            while (input.Read(buffer) > 0)
            {
                // Nothing is said there; only the end counts.
            }
            session.Post(new WorkerEvent.CoordinatorGone("whoever started this worker is gone."));
        })
        { IsBackground = true, Name = "standard input" };
        watch.Start();
    }

    [LoggerMessage(2010, LogLevel.Information, "Worker {Worker} ({Numerics}) dials {Coordinator}; peers dial {Endpoints}")]
    private static partial void LogStart(ILogger logger, string worker, string numerics, string coordinator, string endpoints);

    [LoggerMessage(2011, LogLevel.Warning, "A step was still being computed after {Seconds} s; it is left behind")]
    private static partial void LogStillComputing(ILogger logger, double seconds);
}
