using Microsoft.Extensions.Logging;
using Sora.Federation.Audit;
using Sora.Federation.Identity;
using Sora.Protocol.Jobs;
using Sora.Worker.Session;
using Sora.Worker.Work;

namespace Sora.Worker.Sites;

/// <summary>
/// A site: dials a coordinator that its policy names, proves who it is, and trains on data that never leaves, as far as its policy permits,
/// until its part in the run is over.
/// </summary>
public static partial class SiteProcess
{
    private static readonly TimeSpan UnwindTime = TimeSpan.FromSeconds(10);

    /// <summary>Runs a site to the end of one run.</summary>
    /// <param name="options">What to do.</param>
    /// <param name="training">Where the numbers come from.</param>
    /// <param name="stop">Asks for the site's end, as SIGTERM does: it delivers what it has begun, and leaves.</param>
    /// <returns>The exit code for the process.</returns>
    /// <exception cref="SoraException">The policy is not sound, the key cannot be read, or the state folder is in use or damaged.</exception>
    public static async Task<int> RunAsync(SiteOptions options, ILocalTrainingSource training, CancellationToken stop)
    {
        var log = options.LoggerFactory.CreateLogger("Sora.Site");
        var policies = new PolicySource(options.PolicyFile);
        using var key = KeyFiles.ReadPrivate(options.IdentityFile);
        // It is in use by one process at a time, and with it the whole state folder.
        using var audit = AuditLog.Open(Path.Combine(options.StateDir, "audit.jsonl"), key.Public.Fingerprint, options.Time, key);
        using var dialer = new CoordinatorDialer(options.Coordinators, token: null, options.ConnectTimeout, options.Time);
        var thread = new TrainingThread();
        try
        {
            LogStart(log, key.Public.Fingerprint, string.Join(", ", dialer.Coordinators));
            var session = new SiteSession(dialer, options, policies, key, audit, training, thread, log);
            await using var stopping = stop.UnsafeRegister(_ => session.Drain(), null);
            if (options.EndWithStandardInput)
                StandardInput.WatchEnd(() => session.Abandon("whoever started this site is gone."));
            var exitCode = await session.RunAsync();
            await UnwindAsync(thread, session, log, options.Time);
            return exitCode;
        }
        finally
        {
            thread.Dispose();
        }
    }

    private static async Task UnwindAsync(TrainingThread thread, SiteSession session, ILogger log, TimeProvider time)
    {
        try
        {
            await thread.RunAsync(() =>
            {
                session.DisposeTraining();
                return 0;
            }).WaitAsync(UnwindTime, time);
        }
        catch (TimeoutException)
        {
            LogStillComputing(log, UnwindTime.TotalSeconds);
        }
    }

    [LoggerMessage(2040, LogLevel.Information, "Site {Fingerprint} dials {Coordinators}")]
    private static partial void LogStart(ILogger logger, string fingerprint, string coordinators);

    [LoggerMessage(2041, LogLevel.Warning, "Local training was still going on after {Seconds} s; it is left behind")]
    private static partial void LogStillComputing(ILogger logger, double seconds);
}
