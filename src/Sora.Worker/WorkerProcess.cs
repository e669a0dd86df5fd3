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
            using var dialer = new CoordinatorDialer(options.Coordinators, options.Token, options.ConnectTimeout, options.Time);
            using var listener = new ExchangeListener(ExchangeAddress.Of(options, folder.Path));
            var work = new RunWork(options, new AssignedCorpus(options, new CoordinatorCorpora(dialer), folder.Path));
            var machine = await training.RunAsync(work.Inspect);
            var name = options.Name.Length > 0 ? options.Name : $"{Environment.MachineName}-{Environment.ProcessId}";
            LogStart(log, name, machine.Fingerprint, string.Join(", ", dialer.Coordinators), string.Join(", ", listener.Endpoints));

            var session = new WorkerSession(name, dialer, work, training, listener, machine, options, log);
            await using var stopping = stop.UnsafeRegister(_ => session.Post(new WorkerEvent.DrainSignalled("this worker was told to end")), null);
            if (options.EndWithStandardInput)
                StandardInput.WatchEnd(() => session.Post(new WorkerEvent.CoordinatorGone("whoever started this worker is gone.")));
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

    [LoggerMessage(2010, LogLevel.Information, "Worker {Worker} ({Numerics}) dials {Coordinator}; peers dial {Endpoints}")]
    private static partial void LogStart(ILogger logger, string worker, string numerics, string coordinator, string endpoints);

    [LoggerMessage(2011, LogLevel.Warning, "A step was still being computed after {Seconds} s; it is left behind")]
    private static partial void LogStillComputing(ILogger logger, double seconds);
}
