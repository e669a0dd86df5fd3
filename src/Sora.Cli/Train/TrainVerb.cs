using System.CommandLine;
using Sora.Cli.Config;
using Sora.Cli.Display;
using Sora.Cli.Shell;
using Sora.Cli.Worker;
using Sora.Model.Checkpoints;
using Sora.Protocol.Jobs;
using Sora.Protocol.Runs;

namespace Sora.Cli.Train;

/// <summary><c>sora train JOB</c>.</summary>
internal static class TrainVerb
{
    public static Command Create()
    {
        var job = new JobOptions();
        var resume = new Option<string>("--resume")
        {
            Description = "false: begin anew, refused where checkpoints lie; auto: go on from the newest sound checkpoint, begin anew without one; true: the same, but without one it is an error; or a checkpoint, or the output folder of a run.",
            HelpName = "auto|true|false|DIR",
            DefaultValueFactory = _ => "false",
        };
        resume.CompletionSources.Add("auto", "true", "false");
        var overwrite = new Option<bool>("--overwrite") { Description = "Remove the checkpoints of an earlier run in the output folder and begin anew." };
        var dryRun = new Option<bool>("--dry-run") { Description = "Check what the run would check, print what it would take, and do nothing." };
        var json = new Option<bool>("--json") { Description = "Print one JSON object a line on stdout and nothing else there." };
        var listen = new Option<string>("--listen")
        {
            Description = "Where the coordinator listens for its workers; port 0 takes a free one. The token they show is printed nowhere: it lies in OUTPUT/coordinator/token, or is what SORA_WORKER_TOKEN says.",
            HelpName = "URL",
            DefaultValueFactory = _ => "http://127.0.0.1:0",
        };
        var local = new Option<int?>("--local-workers")
        {
            Description = "Workers to start on this machine; the rest of --workers dial in by 'sora worker --coordinator URL'. Default: all.",
            HelpName = "N",
        };
        var coordinator = new Option<string>("--coordinator")
        {
            Description = "Coordinators of their own ('sora coordinator start') that carry out the run; this program then only submits and follows it, and no worker is started unless --local-workers says so. The output folder and the corpus must be where they and the workers can read them.",
            HelpName = "URL[,URL]",
        };
        var tokenFile = new Option<string>("--token-file") { Description = $"With --coordinator: file that holds its token; without it {WorkerProcesses.TokenVariable} is read.", HelpName = "FILE" };
        var verb = new Verb("train", "Train a network: data, coordinator, workers and all.",
            "sora train examples/quickstart.yaml",
            "sora train examples/own-text.yaml --data my-texts/ --set model.hidden_size=512",
            "sora train job.yaml --dry-run                     # size, memory, tokens, bytes on the wire",
            "sora train job.yaml --resume auto                 # go on after Ctrl-C, a crash or a reboot",
            "sora train job.yaml --workers 2:8 --local-workers 2 --listen http://0.0.0.0:5400  # more may join while it runs",
            "sora train job.yaml --json | jq -r .loss          # for programs");
        job.AddTo(verb);
        foreach (var option in new Option[] { resume, overwrite, dryRun, json, listen, local, coordinator, tokenFile }) verb.Options.Add(option);

        verb.SetAction(async (result, _) =>
        {
            var isJson = result.GetValue(json);
            await using var display = new GuardedDisplay(RunDisplay.Create(isJson, TimeProvider.System));
            try
            {
                var loaded = job.Load(result);
                if (loaded.Job.Federated.IsOn)
                    throw new SoraException("The job has a section 'federated': its data stays with the sites. 'sora train' trains where the data is; leave the section out, or set federated.rounds=0.", ExitCode.Usage);
                loaded = BaseModel.Complete(loaded);
                var options = new TrainOptions(
                    ResumeCommand.Of(Environment.GetEnvironmentVariable(ResumeCommand.ProgramVariable), result.Tokens.Select(token => token.Value)), result.GetRequiredValue(resume), result.GetValue(overwrite), result.GetRequiredValue(listen), result.GetValue(local),
                    result.GetValue(coordinator) is { } list ? CoordinatorList.Parse(list) : [], result.GetValue(tokenFile));
                var command = new TrainCommand(loaded, options, display, TimeProvider.System);
                var code = result.GetValue(dryRun) ? await command.PlanAsync() : await command.RunAsync();
                // A pipe that was closed is how people say that they have seen enough.
                return display.Lost is { ReaderHasGone: false } lost ? throw new ReportedFailure($"{lost.Message} The last thing it would have said: {RunLines.Of(display.Unseen!)}", lost.ExitCode) : code;
            }
            catch (SoraException e) when (e is not ReportedFailure)
            {
                if (isJson) display.Show(new RunFailed(0, e.Message, null, null, e.ExitCode));
                throw;
            }
        });
        return verb;
    }
}
