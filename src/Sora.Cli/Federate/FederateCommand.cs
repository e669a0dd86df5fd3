using Microsoft.Extensions.Logging.Abstractions;
using Sora.Cli.Display;
using Sora.Cli.Shell;
using Sora.Cli.Train;
using Sora.Coordinator;
using Sora.Coordinator.Federations;
using Sora.Federation.Rounds;
using Sora.Protocol.Jobs;
using Sora.Protocol.Runs;

namespace Sora.Cli.Federate;

/// <summary>
/// A coordinator in this process, site processes beside it where the job names some, and the rounds between them. Killed and started again it goes
/// on with the round it was in: the run's name, its models and its journal are in the output folder.
/// </summary>
internal sealed class FederateCommand(TrainingJob job, FederationSettings settings, string listen, bool overwrite, GuardedDisplay display, TimeProvider clock)
{
    private static readonly TimeSpan SiteGrace = TimeSpan.FromSeconds(10);

    /// <summary>Trains.</summary>
    /// <returns>The exit code.</returns>
    public async Task<int> RunAsync()
    {
        var sites = LocalSite.Of(job, job.OutputDir);
        using var output = OutputFolder.Open(job.OutputDir);
        if (overwrite) RemoveEarlierRun(output.Path);
        WorkerProcesses? processes = null;
        using var signals = new StopSignals(code =>
        {
            processes?.Kill();
            Environment.Exit(code);
        });
        var files = new FederationFiles(job, output.Path);
        var run = files.Begin(settings);
        await using var coordinator = await CoordinatorHost.StartAsync(Coordinator(files), signals.Token);
        display.Show(new SitesAwaited(coordinator.Address, coordinator.Fingerprint, files.Admissions));
        foreach (var site in sites)
            site.Prepare(job, settings, files.Admissions, coordinator.Fingerprint, clock.GetUtcNow());
        processes = WorkerProcesses.Start(sites.Count, Launch(sites, coordinator.Address, output), job.MaxRestarts, clock);
        try
        {
            var handle = await coordinator.SubmitAsync(new FederationSubmission { Run = run, JobJson = JobJson.Write(job), OutputDir = output.Path });
            var end = await FollowAsync(handle, processes, files, signals);
            await processes.EndAsync(SiteGrace);
            return Conclude(end, files, sites, processes, signals);
        }
        finally
        {
            processes.Dispose();
        }
    }

    private async Task<RunEvent> FollowAsync(RunHandle handle, WorkerProcesses sites, FederationFiles files, StopSignals signals)
    {
        using var history = files.OpenHistory();
        _ = signals.Asked.ContinueWith(asked => handle.StopAsync(asked.Result), TaskScheduler.Default);
        using var over = new CancellationTokenSource();
        var news = TellNewsAsync(sites, over.Token);
        RunEvent? end = null;
        await foreach (var happened in handle.Events)
        {
            history.Add(happened);
            if (happened is FederationFinished or FederationStopped or FederationFailed)
            {
                end = happened;
                break;
            }
            lock (display) display.Show(happened);
        }
        sites.LetEnd();
        await over.CancelAsync();
        await news;
        return end ?? throw new SoraException("The coordinator ended before the run did. The same command goes on with it.", ExitCode.Failure);
    }

    // What becomes of the processes of this machine is told between what becomes of the rounds.
    private async Task TellNewsAsync(WorkerProcesses sites, CancellationToken over)
    {
        try
        {
            await foreach (var happened in sites.News.ReadAllAsync(over))
                lock (display) display.Show(happened);
        }
        catch (OperationCanceledException)
        {
            // The run is over.
        }
    }

    private int Conclude(RunEvent end, FederationFiles files, IReadOnlyList<LocalSite> sites, WorkerProcesses processes, StopSignals signals)
    {
        switch (end)
        {
            case FederationFinished finished:
                var result = new FederationResult(job, settings, files, display, clock);
                result.Export(finished);
                if (job.Federated.CompareLocal && sites.Count > 0) result.CompareWithLocalTraining(sites);
                display.Show(finished);
                return ExitCode.Ok;
            case FederationStopped stopped:
                display.Show(stopped);
                return signals.Asked.IsCompleted ? ExitCode.Resumable : ExitCode.Failure;
            default:
                var failed = (FederationFailed)end;
                display.Show(failed);
                var tails = processes.All.Where(site => site.LastExit is { Code: not 0 }).Select(site => $"\n--- {site.Name} ({site.Log})\n{string.Join('\n', site.Tail(8))}");
                throw new ReportedFailure($"the run failed in round {failed.Round}: {failed.Message}{string.Concat(tails)}", failed.ExitCode == ExitCode.Ok ? ExitCode.Failure : failed.ExitCode);
        }
    }

    private CoordinatorOptions Coordinator(FederationFiles files) => new()
    {
        ListenUrl = listen,
        StateDir = files.State,
        AdmissionsFile = files.Admissions,
        LoggerFactory = NullLoggerFactory.Instance,
    };

    private WorkerLaunch Launch(IReadOnlyList<LocalSite> sites, string address, OutputFolder output) => new(address, "", output.Logs, job.ThreadsPerWorker, OneGpuEach: false)
    {
        Commands = [.. sites.Select(site => new WorkerCommand(site.Name, site.Arguments(job, address)))],
    };

    private void RemoveEarlierRun(string folder)
    {
        foreach (var part in new[] { "federation", "sites", "coordinator", "checkpoints" }.Select(name => Path.Combine(folder, name)).Where(Directory.Exists))
        {
            display.Show(new RunWarning($"removing {part} of an earlier run"));
            Directory.Delete(part, recursive: true);
        }
    }
}
