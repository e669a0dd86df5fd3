using YamlDotNet.RepresentationModel;

namespace Sora.Protocol.Jobs;

/// <summary>The keys a kind of file can have, and how to speak of it.</summary>
internal sealed record SettingsNames(string Noun, IReadOnlyList<JobKey> Keys, IReadOnlyList<JobKey> Leaves, string ListedBy)
{
    /// <summary>Those of job files.</summary>
    public static SettingsNames OfJobs { get; } = new("job", JobSchema.Keys, JobSchema.Leaves, "'sora config keys'");
}

/// <summary>Settings with where they come from.</summary>
/// <param name="Settings">The validated record.</param>
/// <param name="Origins">Where each key was written, by path; keys left to their default are absent.</param>
public sealed record LoadedSettings<T>(T Settings, IReadOnlyDictionary<string, JobOrigin> Origins);

/// <summary>
/// A kind of YAML file other than a job, read as jobs are: its keys are the <see cref="JobKeyAttribute"/>s of a record, sections are records
/// of the same namespace, all errors come together with their lines, and a misspelled key is answered with the nearest one.
/// </summary>
public sealed class SettingsFile<T> where T : class, new()
{
    private readonly SettingsNames _names;

    /// <summary>Describes a kind of file.</summary>
    /// <param name="noun">What errors call it, such as "policy".</param>
    /// <param name="listedBy">Where a reader finds all its keys.</param>
    public SettingsFile(string noun, string listedBy)
    {
        var keys = JobKey.Of(typeof(T), parent: null, new T());
        _names = new SettingsNames(noun, keys, JobSchema.LeavesOf(keys), listedBy);
    }

    /// <summary>Every key that has a value of its own, in order.</summary>
    public IReadOnlyList<JobKey> Leaves => _names.Leaves;

    /// <summary>Reads a file.</summary>
    /// <param name="path">The file.</param>
    /// <param name="check">Finds what is wrong between the values.</param>
    /// <exception cref="JobErrors">Something is wrong; the message lists everything.</exception>
    public LoadedSettings<T> Load(string path, Func<LoadedSettings<T>, IEnumerable<JobError>> check) =>
        LoadText(JobText.ReadFile(path, _names.Noun), path, check);

    /// <summary>Reads text; <paramref name="source"/> is named in errors.</summary>
    /// <exception cref="JobErrors">Something is wrong; the message lists everything.</exception>
    public LoadedSettings<T> LoadText(string yaml, string source, Func<LoadedSettings<T>, IEnumerable<JobError>> check)
    {
        var binder = new JobBinder(_names);
        YamlNode? root = JobText.Parse(yaml, source, _names.Noun);
        binder.BindFile(root, source);
        var loaded = new LoadedSettings<T>((T)JobSchema.Build(typeof(T), _names.Keys, binder.Values), binder.Origins);
        var errors = binder.ErrorsWith(check(loaded));
        return errors.Length == 0 ? loaded : throw new JobErrors(errors, _names.Noun);
    }
}
