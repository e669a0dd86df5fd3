using System.CommandLine;
using Sora.Cli.Config;
using Sora.Cli.Display;
using Sora.Cli.Shell;
using Sora.Cli.Train;
using Sora.Federation.Rounds;
using Sora.Model.Checkpoints;
using Sora.Protocol.Jobs;
using Sora.Protocol.Runs;

namespace Sora.Cli.Federate;

/// <summary><c>sora federate</c>: a coordinator in this process, and rounds with sites that keep their data.</summary>
internal static class FederateVerb
{
    public static Command Create()
    {
        var job = new JobOptions();
        var json = new Option<bool>("--json") { Description = "Write one JSON object an event to stdout." };
        var overwrite = new Option<bool>("--overwrite") { Description = "Remove what an earlier run left in the output folder and begin anew." };
        var listen = new Option<string>("--listen")
        {
            Description = "Where the coordinator listens for sites; the default is this machine only, on a free port.",
            HelpName = "URL",
            DefaultValueFactory = _ => "http://127.0.0.1:0",
        };
        var verb = new Verb("federate", "Train in rounds with sites that keep their data and send updates only. The same command after a crash goes on where it was.",
            "sora federate examples/federated-quickstart.yaml   # coordinator and four sites on this machine",
            "sora federate job.yaml --listen http://0.0.0.0:5400  # sites elsewhere join: sora site --coordinator ...");
        job.AddTo(verb);
        foreach (var option in new Option[] { json, overwrite, listen }) verb.Options.Add(option);
        verb.SetAction(async (result, _) =>
        {
            var isJson = result.GetValue(json);
            await using var display = new GuardedDisplay(RunDisplay.Create(isJson, TimeProvider.System));
            try
            {
                var loaded = BaseModel.Complete(job.Load(result));
                var settings = FederatedJob.Settings(loaded.Job, loaded.Origins);
                foreach (var warning in loaded.Warnings) display.Show(new RunWarning(warning));
                return await new FederateCommand(loaded.Job, settings, result.GetRequiredValue(listen), result.GetValue(overwrite), display, TimeProvider.System).RunAsync();
            }
            catch (SoraException e) when (e is not ReportedFailure)
            {
                if (isJson) display.Show(new FederationFailed(0, "", e.Message, e.ExitCode));
                throw;
            }
        });
        return verb;
    }
}
