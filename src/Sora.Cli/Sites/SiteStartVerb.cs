using System.CommandLine;
using System.Runtime.InteropServices;
using Microsoft.Extensions.Logging;
using Sora.Cli.Shell;
using Sora.Cli.Worker;
using Sora.Protocol.Jobs;
using Sora.Worker.Sites;

namespace Sora.Cli.Sites;

/// <summary><c>sora site</c>, also <c>sora site start</c>: a site's process; also how <c>federate</c> starts its own.</summary>
internal static class SiteStartVerb
{
    /// <summary>Lets a verb run a site.</summary>
    public static Verb Runs(Verb verb)
    {
        var coordinator = new Option<string>("--coordinator") { Description = "Where the coordinator listens; several, separated by commas, are tried in turn.", HelpName = "URL[,URL]" };
        var data = new Option<string[]>("--data") { Description = "Data that jobs may be trained on, as the policy calls it. It never leaves this process. Without a name it is called like the folder. May be repeated.", HelpName = "[NAME=]DIR" };
        var policy = new Option<string>("--policy") { Description = "What this site lets jobs do.", HelpName = "FILE" };
        var identity = new Option<string>("--identity") { Description = "The site's private key, as 'sora site keygen' made it.", HelpName = "FILE" };
        var state = new Option<string>("--state") { Description = "Folder for the site's journal, updates, privacy ledgers and audit log. Whoever loses it loses count of what was spent.", HelpName = "DIR", DefaultValueFactory = _ => "site-state" };
        var baseModel = new Option<string>("--base-model") { Description = "Where the network lies that the job begins with, if not where the job says. Its hash is checked.", HelpName = "DIR", DefaultValueFactory = _ => "" };
        var cache = new Option<string>("--cache-dir") { Description = "Folder for the site's prepared text; default the user's cache.", HelpName = "DIR", DefaultValueFactory = _ => "" };
        var managed = new Option<bool>("--managed") { Description = "Started by 'sora federate', which decides about signals.", Hidden = true };
        var logLevel = LogLevelOption.Create(LogLevel.Information);
        foreach (var option in new Option[] { coordinator, data, policy, identity, state, baseModel, cache, logLevel, managed }) verb.Options.Add(option);
        verb.SetAction(async (result, _) =>
        {
            using var logs = LoggerFactory.Create(builder => StandardErrorLog.Configure(builder, result.GetValue(logLevel)));
            using var stop = new CancellationTokenSource();
            var isManaged = result.GetValue(managed);
            using var interrupt = PosixSignalRegistration.Create(PosixSignal.SIGINT, context => Ask(context, isManaged ? null : stop));
            using var terminate = PosixSignalRegistration.Create(PosixSignal.SIGTERM, context => Ask(context, stop));
            var options = new SiteOptions
            {
                Coordinators = CoordinatorList.Parse(result.GetValue(coordinator)),
                PolicyFile = Required(result.GetValue(policy), "--policy", "'sora policy check' tells what one means, docs/federated.md has every key"),
                IdentityFile = Required(result.GetValue(identity), "--identity", "make one with 'sora site keygen NAME'"),
                StateDir = Path.GetFullPath(result.GetRequiredValue(state)),
                Data = [.. (result.GetValue(data) ?? []).Select(Parse)],
                EndWithStandardInput = isManaged,
                LoggerFactory = logs,
            };
            if (options.Data.Count == 0) throw new SoraException("--data is missing: name the folder with the text that jobs may be trained on.", ExitCode.Usage);
            return await SiteProcess.RunAsync(options, new LocalTrainingSource(result.GetRequiredValue(baseModel), result.GetRequiredValue(cache), TimeProvider.System), stop.Token);
        });
        return verb;
    }

    private static string Required(string? file, string option, string hint) =>
        file is { Length: > 0 } ? Path.GetFullPath(file) : throw new SoraException($"{option} is missing: {hint}.", ExitCode.Usage);

    private static SiteDataSet Parse(string text)
    {
        var equals = text.IndexOf('=');
        var input = equals < 0 ? text : text[(equals + 1)..];
        if (File.Exists(input) || Directory.Exists(input)) input = Path.GetFullPath(input);
        return new SiteDataSet(equals < 0 ? Path.GetFileName(Path.TrimEndingDirectorySeparator(input)) : text[..equals], input);
    }

    // The first signal asks, the second is the system's business.
    private static void Ask(PosixSignalContext context, CancellationTokenSource? stop)
    {
        context.Cancel = stop is not { IsCancellationRequested: true };
        stop?.Cancel();
    }
}
