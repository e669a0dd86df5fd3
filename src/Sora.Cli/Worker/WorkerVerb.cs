using System.CommandLine;
using System.Runtime.InteropServices;
using Microsoft.Extensions.Logging;
using Sora.Cli.Shell;
using Sora.Cli.Train;
using Sora.Protocol.Jobs;
using Sora.Worker;

namespace Sora.Cli.Worker;

/// <summary><c>sora worker</c>, also <c>sora worker start</c>: one worker process; also how <c>train</c> starts its own.</summary>
internal static class WorkerVerb
{
    public static Command Create()
    {
        var verb = Runs(new Verb("worker", "Run a worker: dial a coordinator and compute what it assigns, also while its run is going on. SIGTERM or Ctrl-C: hand over and leave.",
            "sora worker --coordinator http://trainer:5400 --token-file token         # join the run of 'sora train --listen http://0.0.0.0:5400'",
            $"{WorkerProcesses.TokenVariable}=secret sora worker --coordinator http://one:5400,http://two:5400"));
        verb.Add(Runs(new Verb("start", "The same as 'sora worker'.")));
        return verb;
    }

    private static Verb Runs(Verb verb)
    {
        var coordinator = new Option<string>("--coordinator") { Description = "Where the coordinator listens; several, separated by commas, are tried in turn.", HelpName = "URL[,URL]" };
        var tokenFile = new Option<string>("--token-file") { Description = $"File that holds the coordinator's token; without it the variable {WorkerProcesses.TokenVariable} is read.", HelpName = "FILE" };
        var name = new Option<string>("--name") { Description = "Name among the coordinator's workers; default made from host and process.", HelpName = "NAME", DefaultValueFactory = _ => "" };
        var bind = new Option<string>("--bind") { Description = "Where to listen for peers on other hosts, such as 10.0.0.7 or 10.0.0.7:5500; default the address from which the coordinator is reached, and any free port.", HelpName = "ADDRESS[:PORT]", DefaultValueFactory = _ => "" };
        var advertise = new Option<string>("--advertise") { Description = "What all peers dial instead of the address listened on: the published address of a container, for instance.", HelpName = "HOST[:PORT]", DefaultValueFactory = _ => "" };
        var cache = new Option<string>("--cache-dir") { Description = "Folder for pieces of a corpus that is not on this machine.", HelpName = "DIR", DefaultValueFactory = _ => "" };
        var fetch = new Option<bool>("--fetch-corpus") { Description = "Fetch the corpus from the coordinator even where its folder can be read (a slow network drive)." };
        var threads = new Option<int?>("--threads") { Description = "libtorch threads instead of the job's: other numerics, for tests.", HelpName = "N", Hidden = true };
        var managed = new Option<bool>("--managed") { Description = "Started by 'sora train', which decides about signals.", Hidden = true };
        var logLevel = LogLevelOption.Create(LogLevel.Information);
        foreach (var option in new Option[] { coordinator, tokenFile, name, bind, advertise, cache, fetch, threads, logLevel, managed }) verb.Options.Add(option);
        verb.SetAction(async (result, _) =>
        {
            using var logs = LoggerFactory.Create(builder => StandardErrorLog.Configure(builder, result.GetValue(logLevel)));
            using var stop = new CancellationTokenSource();
            // Ctrl-C reaches every process of a terminal: one started by `train` leaves the decision to it.
            var isManaged = result.GetValue(managed);
            using var interrupt = PosixSignalRegistration.Create(PosixSignal.SIGINT, context => Ask(context, isManaged ? null : stop));
            using var terminate = PosixSignalRegistration.Create(PosixSignal.SIGTERM, context => Ask(context, stop));
            return await WorkerProcess.RunAsync(
                new WorkerOptions
                {
                    Coordinators = CoordinatorList.Parse(result.GetValue(coordinator)),
                    Token = WorkerToken.Read(result.GetValue(tokenFile)),
                    Name = result.GetRequiredValue(name),
                    BindAddress = result.GetRequiredValue(bind),
                    AdvertisedAddress = result.GetRequiredValue(advertise),
                    CacheDir = result.GetRequiredValue(cache),
                    FetchCorpus = result.GetValue(fetch),
                    ThreadsOverride = result.GetValue(threads),
                    EndWithStandardInput = isManaged,
                    LoggerFactory = logs,
                },
                stop.Token);
        });
        return verb;
    }

    // The first signal asks, the second is the system's business.
    private static void Ask(PosixSignalContext context, CancellationTokenSource? stop)
    {
        context.Cancel = stop is not { IsCancellationRequested: true };
        stop?.Cancel();
    }
}
