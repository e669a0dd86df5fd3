using System.Collections;

namespace Sora.Protocol.Jobs;

/// <summary>What the user gave besides the file, weakest first.</summary>
public sealed record JobOverrides
{
    /// <summary>Environment variables; those named <c>SORA_KEY</c> or <c>SORA_SECTION__KEY</c> count.</summary>
    public IReadOnlyDictionary<string, string> Environment { get; init; } = new Dictionary<string, string>();

    /// <summary>Arguments of <c>--set</c>, each <c>key=value</c> with a dotted key.</summary>
    public IReadOnlyList<string> Set { get; init; } = [];

    /// <summary>Flags that have a key: the flag as typed, the key's path and its values (several for a list).</summary>
    public IReadOnlyList<(string Flag, string Path, IReadOnlyList<string> Values)> Flags { get; init; } = [];

    /// <summary>The variables of this process.</summary>
    public static IReadOnlyDictionary<string, string> ProcessEnvironment() =>
        System.Environment.GetEnvironmentVariables().Cast<DictionaryEntry>().ToDictionary(entry => (string)entry.Key, entry => (string)entry.Value!);
}

/// <summary>A job with where its values come from.</summary>
/// <param name="Job">The validated job.</param>
/// <param name="Origins">Where each key was written; keys left to their default are absent.</param>
/// <param name="Warnings">What looks like a slip but is not an error.</param>
public sealed record LoadedJob(TrainingJob Job, IReadOnlyDictionary<string, JobOrigin> Origins, IReadOnlyList<string> Warnings);

/// <summary>File, then environment, then <c>--set</c>, then flags: each overrides the ones before, and all errors come together.</summary>
public static class JobLoader
{
    private const string Prefix = "SORA_";

    /// <summary>Reads a job file. Paths in it are relative to its folder, those in the overrides to the working directory; the job holds them absolute.</summary>
    /// <exception cref="JobErrors">Something is wrong; the message lists everything.</exception>
    public static LoadedJob Load(string path, JobOverrides overrides)
    {
        var loaded = LoadText(JobText.ReadFile(path), path, overrides);
        var folder = Path.GetDirectoryName(Path.GetFullPath(path))!;
        return loaded with { Job = JobPaths.MakeAbsolute(loaded.Job, key => loaded.Origins.TryGetValue(key.Path, out var at) && at.Line > 0 ? folder : Environment.CurrentDirectory) };
    }

    /// <summary>Reads a job from text; <paramref name="source"/> is named in errors. Paths stay as they are written.</summary>
    /// <exception cref="JobErrors">Something is wrong; the message lists everything.</exception>
    public static LoadedJob LoadText(string yaml, string source, JobOverrides overrides)
    {
        var binder = new JobBinder();
        binder.BindFile(JobText.Parse(yaml, source), source);
        var warnings = BindEnvironment(binder, overrides.Environment);
        foreach (var assignment in overrides.Set) BindAssignment(binder, assignment);
        foreach (var (flag, path, values) in overrides.Flags)
        {
            var key = JobSchema.Leaf(path);
            if (key.ValueType == typeof(IReadOnlyList<string>)) binder.Set(key, values, flag);
            else binder.BindText(path, values[^1], flag);
        }

        // A named job without a name would overwrite the next one's output, so the file lends its own.
        if (!binder.Values.ContainsKey("name") && NameOf(source) is { } name) binder.Set(JobSchema.Leaf("name"), name, source);

        var job = JobSchema.Build(binder.Values);
        // Not an error: `--max-steps 5` is how people try a job out.
        if (job.WarmupSteps > job.MaxSteps)
            warnings.Add($"warmup_steps is {JobKey.Spell(job.WarmupSteps)} and max_steps {job.MaxSteps}: the learning rate never reaches its peak");
        var errors = binder.ErrorsWith(JobValidation.Check(job, binder.Origins));
        return errors.Length == 0 ? new LoadedJob(job, binder.Origins, warnings) : throw new JobErrors(errors);
    }

    private static List<string> BindEnvironment(JobBinder binder, IReadOnlyDictionary<string, string> environment)
    {
        var names = JobSchema.Leaves.Concat(JobSchema.Keys.Where(key => key.Shorthand is not null)).ToDictionary(VariableOf);
        var warnings = new List<string>();
        // An empty variable counts as not set: scripts cannot always unset one.
        foreach (var (name, value) in environment.Where(pair => pair.Key.StartsWith(Prefix, StringComparison.Ordinal) && pair.Value.Length > 0).OrderBy(pair => pair.Key, StringComparer.Ordinal))
        {
            if (names.TryGetValue(name, out var key)) binder.BindText(key.Path, value, $"environment variable {name}");
            // Not an error: a cluster may set SORA_SERVICE_HOST and the like, which are nobody's slip.
            else if (NearestName.Of(name[Prefix.Length..], names.Keys.Select(known => known[Prefix.Length..])) is { } near)
                warnings.Add($"environment variable {name} is not a job key and is ignored; did you mean {Prefix}{near}?");
        }
        return warnings;
    }

    /// <summary>The environment variable of a key.</summary>
    public static string VariableOf(JobKey key) => Prefix + key.Path.Replace(".", "__").ToUpperInvariant();

    private static void BindAssignment(JobBinder binder, string assignment)
    {
        var source = $"--set {assignment}";
        var equals = assignment.IndexOf('=');
        if (equals < 0) binder.Refuse(source, "write key=value, for example --set max_steps=100.");
        else binder.BindText(assignment[..equals].Trim(), assignment[(equals + 1)..].Trim(), source);
    }

    private static string? NameOf(string source)
    {
        var name = Path.GetFileNameWithoutExtension(source);
        return JobValidation.IsName(name) ? name : null;
    }
}
