using System.CommandLine;
using System.Runtime.InteropServices;
using Microsoft.Extensions.Logging;
using Sora.Cli.Display;
using Sora.Cli.Shell;
using Sora.Cli.Train;
using Sora.Coordinator;
using Sora.Model.Data;
using Sora.Protocol.Blocks;
using Sora.Protocol.Jobs;

namespace Sora.Cli.Coordinators;

/// <summary><c>sora coordinator start</c>: a coordinator of its own, whose runs outlive whoever submitted them, and itself.</summary>
internal static class CoordinatorVerb
{
    /// <summary>Environment variable of the journal's connection string, which may hold a password.</summary>
    public const string JournalVariable = "SORA_JOURNAL";

    public static Command Create() => new Verb("coordinator", "Run a coordinator of its own.") { Start() };

    private static Verb Start()
    {
        var listen = new Option<string>("--listen") { Description = "Where workers and 'sora train --coordinator' dial.", HelpName = "URL", DefaultValueFactory = _ => "http://127.0.0.1:5400" };
        var state = new Option<string>("--state") { Description = "Folder for the journal and the token. Started again with the same one, the coordinator goes on with its runs.", HelpName = "DIR", Required = true };
        var tokenFile = new Option<string>("--token-file") { Description = $"File that holds what workers must show; without it {WorkerProcesses.TokenVariable}, or else DIR/token, which is made with a random one.", HelpName = "FILE" };
        var clusterListen = new Option<string>("--cluster-listen") { Description = "Where the other coordinators of a cluster reach this one; a private network.", HelpName = "ADDRESS:PORT", DefaultValueFactory = _ => "" };
        var clusterAdvertise = new Option<string>("--cluster-advertise") { Description = "What they dial where that differs from --cluster-listen.", HelpName = "NAME:PORT", DefaultValueFactory = _ => "" };
        var seeds = new Option<string>("--seeds") { Description = "The coordinators of the cluster as they are advertised, this one among them, in the same order everywhere.", HelpName = "NAME:PORT,...", DefaultValueFactory = _ => "" };
        var journal = new Option<string>("--journal") { Description = $"Connection string of the PostgreSQL database that the cluster shares; better in {JournalVariable}, which other users cannot read. Default: a file in the state folder.", HelpName = "CONNECTION" };
        var admissions = new Option<string>("--admissions") { Description = "List of the sites that are let in to federated runs, as 'sora site register' writes it. Default: DIR/sites.json. Read again for each site that dials in.", HelpName = "FILE", DefaultValueFactory = _ => "" };
        var identity = new Option<string>("--identity") { Description = "Key that shows sites who this coordinator is, the same for all coordinators of a cluster. Default: DIR/coordinator.key, which is made.", HelpName = "KEY", DefaultValueFactory = _ => "" };
        var json = new Option<bool>("--json") { Description = "Say where it listens as JSON." };
        var logLevel = LogLevelOption.Create(LogLevel.Warning);
        var verb = new Verb("start", "Carry out runs that are submitted with 'sora train JOB --coordinator URL'.",
            "sora coordinator start --state state/ --listen http://0.0.0.0:5400",
            "sora worker --coordinator http://trainer:5400 --token-file state/token      # on each machine that computes",
            "sora train job.yaml --coordinator http://trainer:5400 --token-file state/token --workers 2:8",
            "sora coordinator start --state s1 --listen http://0.0.0.0:5400 --cluster-listen 10.0.0.1:5500 --seeds 10.0.0.1:5500,10.0.0.2:5500,10.0.0.3:5500")
        {
            listen, state, tokenFile, clusterListen, clusterAdvertise, seeds, journal, admissions, identity, logLevel, json,
        };
        verb.SetAction(async (result, _) =>
        {
            var folder = Path.GetFullPath(result.GetRequiredValue(state));
            var (token, shownIn) = CoordinatorToken.Of(result.GetValue(tokenFile), folder);
            using var logs = LoggerFactory.Create(builder => StandardErrorLog.Configure(builder, result.GetValue(logLevel)));
            return await RunAsync(
                new CoordinatorOptions
                {
                    ListenUrl = result.GetRequiredValue(listen),
                    Token = token,
                    StateDir = folder,
                    JournalConnection = result.GetValue(journal) ?? Environment.GetEnvironmentVariable(JournalVariable) ?? "",
                    ClusterListen = result.GetRequiredValue(clusterListen),
                    ClusterAdvertise = result.GetRequiredValue(clusterAdvertise),
                    ClusterSeeds = result.GetRequiredValue(seeds).Split(',', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries),
                    AdmissionsFile = FullPath(result.GetRequiredValue(admissions)),
                    IdentityFile = FullPath(result.GetRequiredValue(identity)),
                    OpenCorpus = Open,
                    LoggerFactory = logs,
                },
                shownIn, result.GetValue(json));
        });
        return verb;
    }

    private static async Task<int> RunAsync(CoordinatorOptions options, string tokenFile, bool json)
    {
        using var stop = new CancellationTokenSource();
        using var interrupt = PosixSignalRegistration.Create(PosixSignal.SIGINT, context => Ask(context, stop));
        using var terminate = PosixSignalRegistration.Create(PosixSignal.SIGTERM, context => Ask(context, stop));
        await using var coordinator = await CoordinatorHost.StartAsync(options, CancellationToken.None);
        var listening = new CoordinatorListening(coordinator.Address, tokenFile, coordinator.Fingerprint);
        Console.Out.WriteLine(json ? RunJson.Write(listening) : $"the coordinator listens on {coordinator.Address}; {RunLines.Of(listening)}");
        if (!json)
            Console.Out.WriteLine($"sites know it by the key {coordinator.Fingerprint}");
        await coordinator.WaitForEndAsync(stop.Token).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        return stop.IsCancellationRequested
            ? ExitCode.Ok
            : throw new SoraException("The coordinator ended: the others of its cluster went on without it, or it could not start. See the lines above, and start it again.", ExitCode.Failure);
    }

    private static string FullPath(string path) => path.Length > 0 ? Path.GetFullPath(path) : "";

    // The first signal asks, the second is the system's business.
    private static void Ask(PosixSignalContext context, CancellationTokenSource stop)
    {
        context.Cancel = !stop.IsCancellationRequested;
        stop.Cancel();
    }

    private static IPieceSource? Open(string folder, string hash)
    {
        try
        {
            using var corpus = PreparedCorpus.Open(folder);
            return corpus.Hash == hash ? new CorpusPieces(corpus) : null;
        }
        catch (Exception e) when (e is SoraException or IOException or UnauthorizedAccessException)
        {
            return null; // it is not on this machine; the worker that asked is told so
        }
    }
}
