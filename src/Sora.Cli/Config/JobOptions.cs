using System.CommandLine;
using Sora.Protocol.Jobs;

namespace Sora.Cli.Config;

/// <summary>The arguments that say which job is meant; shared by all verbs that read one.</summary>
internal sealed class JobOptions
{
    private readonly Argument<string> _file = new("job") { Description = "Job file (YAML)." };

    private readonly Option<string[]> _set = new("--set")
    {
        Description = "Override a key: --set learning_rate=3e-4 --set model.hidden_size=512.",
        HelpName = "key=value",
    };

    private readonly (Option<string[]> Option, string Path)[] _flags =
    [
        (Flag("--max-steps", "N", "Optimizer updates to make."), "max_steps"),
        (Flag("--data", "INPUT", "What to train on: files, folders, globs, URLs, dotnet-docs or dotnet-docs:ASSEMBLIES. May be repeated."), "data.train"),
        (Flag("--output", "DIR", "Folder for checkpoints, logs and pictures."), "output_dir"),
        (Flag("--workers", "N|MIN:MAX", "Workers: N begins with N and goes on with whoever is left; MIN:MAX begins with MIN, takes in up to MAX, and waits below MIN."), "workers"),
        (Flag("--max-restarts", "N", "How often workers of this machine that died are started again, all together; 0: never, -1 (default): as often as it takes."), "max_restarts"),
        (Flag("--seed", "N", "Seed of initial weights, data order and dropout."), "seed"),
        (Flag("--device", "DEVICE", "auto, cpu, cuda or cuda:N."), "device"),
    ];

    public JobOptions()
    {
        _set.CompletionSources.Add(_ => JobSchema.Leaves.Select(key => new System.CommandLine.Completions.CompletionItem(key.Path + "=")));
    }

    /// <summary>Adds the arguments to a verb.</summary>
    public void AddTo(Command verb)
    {
        verb.Arguments.Add(_file);
        foreach (var (option, _) in _flags) verb.Options.Add(option);
        verb.Options.Add(_set);
    }

    /// <summary>The job file as typed.</summary>
    public string FileIn(ParseResult result) => result.GetRequiredValue(_file);

    /// <summary>Loads and validates the job, giving it its output folder.</summary>
    /// <exception cref="JobErrors">Something is wrong with it.</exception>
    public LoadedJob Load(ParseResult result)
    {
        var flags = _flags
            .Select(flag => (flag.Option.Name, flag.Path, Values: (IReadOnlyList<string>)(result.GetValue(flag.Option) ?? [])))
            .Where(flag => flag.Values.Count > 0)
            .ToArray();
        var loaded = JobLoader.Load(FileIn(result), new JobOverrides
        {
            Environment = JobOverrides.ProcessEnvironment(),
            Set = result.GetValue(_set) ?? [],
            Flags = flags,
        });
        var output = loaded.Job.OutputDir.Length > 0 ? loaded.Job.OutputDir : Path.Combine("runs", loaded.Job.Name);
        return loaded with { Job = loaded.Job with { OutputDir = Path.GetFullPath(output) } };
    }

    private static Option<string[]> Flag(string name, string valueName, string description) => new(name)
    {
        Description = description,
        HelpName = valueName,
        Arity = ArgumentArity.OneOrMore, // given twice, the last one counts, except for lists
        AllowMultipleArgumentsPerToken = false,
    };
}
