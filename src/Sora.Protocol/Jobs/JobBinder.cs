using System.Globalization;
using YamlDotNet.Core;
using YamlDotNet.RepresentationModel;

namespace Sora.Protocol.Jobs;

/// <summary>
/// Turns nodes into typed values of known keys, layer over layer, and gathers what is wrong instead of stopping at it.
/// </summary>
internal sealed class JobBinder(SettingsNames names)
{
    /// <summary>Binds the keys of a job.</summary>
    public JobBinder() : this(SettingsNames.OfJobs) { }

    private readonly Dictionary<string, object?> _values = [];
    private readonly Dictionary<string, JobOrigin> _origins = [];
    private readonly List<JobError> _errors = [];

    /// <summary>Values by path.</summary>
    public IReadOnlyDictionary<string, object?> Values => _values;

    /// <summary>Where each value was written last.</summary>
    public IReadOnlyDictionary<string, JobOrigin> Origins => _origins;

    /// <summary>What is wrong so far.</summary>
    public IReadOnlyList<JobError> Errors => _errors;

    /// <summary>What is wrong so far and what a check of the values found, in the order of the file.</summary>
    public JobError[] ErrorsWith(IEnumerable<JobError> invalid)
    {
        // What could not be read has a default now, and complaining of that would mislead.
        var judged = invalid.Where(error => !_errors.Any(unread => IsPartOf(error.Key, unread.Key)));
        return [.. _errors.Concat(judged).OrderBy(error => error.Origin is { Line: > 0 } at ? at.Line : long.MaxValue)];
    }

    /// <summary>Adds the keys of a file.</summary>
    public void BindFile(YamlNode? root, string source)
    {
        if (root is null) return;
        if (root is YamlMappingNode mapping) BindMapping(mapping, names.Keys, section: null, source);
        else Fail(null, At(source, root), $"a {names.Noun} is a list of 'key: value' lines, this is {Describe(root)}.");
    }

    /// <summary>Adds one dotted key given outside the file.</summary>
    public void BindText(string path, string value, string source)
    {
        var origin = new JobOrigin(source);
        var keys = names.Keys;
        JobKey? key = null;
        foreach (var name in path.Split('.'))
        {
            if (Find(keys, name, key, origin) is not { } found) return;
            (key, keys) = (found, found.Children);
        }
        // An empty word is what a script's unset variable leaves; whoever means null writes it.
        if (value.Length == 0 && key!.IsOptional)
        {
            Fail(path, origin, $"'{path}' must be {Expected(key)}, found nothing.");
            return;
        }
        // Lists and sections are written as in the file; anything else is taken literally, so that paths and '#' need no quotes.
        var literal = !(value.StartsWith('[') || value.StartsWith('{'));
        try
        {
            BindNode(literal ? new YamlScalarNode(value) : JobText.Parse(value, source)!, key!, source, origin);
        }
        catch (JobErrors e)
        {
            _errors.AddRange(e.Errors.Select(error => error with { Key = path, Origin = origin }));
        }
    }

    /// <summary>Notes something given outside the file that names no key.</summary>
    public void Refuse(string source, string message) => Fail(null, new JobOrigin(source), message);

    /// <summary>Adds a value that has its type already.</summary>
    public void Set(JobKey key, object? value, string source)
    {
        _values[key.Path] = value;
        _origins[key.Path] = new JobOrigin(source);
    }

    private void BindMapping(YamlMappingNode mapping, IReadOnlyList<JobKey> keys, JobKey? section, string source, JobOrigin? origin = null)
    {
        var seen = new Dictionary<string, JobOrigin>();
        foreach (var (nameNode, valueNode) in mapping.Children)
        {
            var at = origin ?? At(source, nameNode);
            if (nameNode is not YamlScalarNode { Value: { } name })
            {
                Fail(section?.Path, at, $"a key must be a word, this is {Describe(nameNode)}.");
                continue;
            }
            if (Find(keys, name, section, at) is not { } key) continue;
            if (!seen.TryAdd(key.Name, at)) Fail(key.Path, at, $"'{key.Path}' is given twice (also at {seen[key.Name]}); keep one.");
            else BindNode(valueNode, key, source, origin);
        }
    }

    private JobKey? Find(IReadOnlyList<JobKey> keys, string name, JobKey? section, JobOrigin at)
    {
        var normal = JobSchema.Normalize(name.Trim());
        if (keys.FirstOrDefault(key => key.Name == normal || key.Aliases.Contains(normal)) is { } found) return found;
        var full = section is null ? name : $"{section.Path}.{name}";
        // A key written at the wrong level is as common as a misspelled one.
        var elsewhere = names.Leaves.FirstOrDefault(key => key.Name == normal);
        var near = NearestName.Of(normal, keys.Select(key => key.Name))
            ?? NearestName.Of(JobSchema.Normalize(full), names.Leaves.Select(key => key.Path));
        var hint = section is { IsSection: false } ? $"'{section.Path}' has no keys below it."
            : elsewhere is not null ? $"did you mean '{elsewhere.Path}'?"
            : near is not null ? $"did you mean '{(section is null || near.Contains('.') ? near : $"{section.Path}.{near}")}'?"
            : $"{names.ListedBy} lists them all.";
        Fail(full, at, $"unknown key '{full}'; {hint}");
        return null;
    }

    private void BindNode(YamlNode node, JobKey key, string source, JobOrigin? origin)
    {
        var at = origin ?? At(source, node);
        if (key.IsSection)
        {
            if (node is YamlMappingNode mapping) BindMapping(mapping, key.Children, key, source, origin);
            else if (key.Shorthand is { } shorthand && !IsNull(node)) BindNode(node, shorthand, source, origin);
            else Fail(key.Path, at, $"'{key.Path}' has no value; write keys below it ({string.Join(", ", key.Children.Take(3).Select(child => child.Name))}, ...) or leave it out.");
            return;
        }
        if (Read(node, key, out var value))
        {
            _values[key.Path] = value;
            _origins[key.Path] = at;
        }
        else
        {
            Fail(key.Path, at, $"'{key.Path}' must be {Expected(key)}, found {Describe(node)}.{Nearest(node, key)}");
        }
    }

    private static bool Read(YamlNode node, JobKey key, out object? value)
    {
        value = null;
        if (key.ValueType == typeof(IReadOnlyList<string>)) return ReadList(node, out value);
        if (node is not YamlScalarNode { Value: { } text } scalar) return false;
        if (IsNull(scalar)) return key.IsOptional;
        value = key.ValueType switch
        {
            var type when type == typeof(string) => text,
            var type when type == typeof(int) => int.TryParse(Digits(text), NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out var number) ? number : null,
            var type when type == typeof(long) => long.TryParse(Digits(text), NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out var number) ? number : null,
            var type when type == typeof(double) => double.TryParse(Digits(text), NumberStyles.Float, CultureInfo.InvariantCulture, out var number) && double.IsFinite(number) ? number : null,
            var type when type == typeof(bool) => bool.TryParse(text, out var flag) ? flag : null,
            var type when type == typeof(WorkerRange) => WorkerRange.Parse(Digits(text)),
            { IsEnum: true } type => key.Choices.Contains(text.ToLowerInvariant()) ? Enum.Parse(type, text, ignoreCase: true) : null,
            _ => null,
        };
        return value is not null;
    }

    private static bool ReadList(YamlNode node, out object? value)
    {
        var items = node switch
        {
            YamlSequenceNode sequence => sequence.Children,
            YamlScalarNode scalar when !IsNull(scalar) => [scalar],
            _ => null,
        };
        value = items?.All(item => item is YamlScalarNode && !IsNull(item)) == true
            ? items.Select(item => ((YamlScalarNode)item).Value!).ToArray()
            : null;
        return value is not null;
    }

    // YAML 1.1, which most tools speak, lets 10_000 be a number.
    private static string Digits(string text) => text.Length > 1 && char.IsAsciiDigit(text[^1]) ? text.Replace("_", "") : text;

    private static bool IsPartOf(string? key, string? section) => key == section || (section is not null && key?.StartsWith(section + ".", StringComparison.Ordinal) == true);

    private static bool IsNull(YamlNode node) =>
        node is YamlScalarNode { Style: ScalarStyle.Plain or ScalarStyle.Any, Value: null or "" or "~" or "null" };

    private static string Expected(JobKey key) => (key.ValueType switch
    {
        { IsEnum: true } => $"one of {string.Join(", ", key.Choices)}",
        var type when type == typeof(double) => "a number",
        var type when type == typeof(bool) => "true or false",
        var type when type == typeof(string) => "text",
        var type when type == typeof(int) => $"a whole number up to {int.MaxValue}",
        var type when type == typeof(long) => "a whole number",
        var type when type == typeof(WorkerRange) => "a number or MIN:MAX, such as 4 or 2:4",
        _ => "a text or a list of texts",
    }) + (key.IsOptional ? " (or null)" : "");

    private static string Nearest(YamlNode node, JobKey key) =>
        node is YamlScalarNode { Value: { } text } && NearestName.Of(text.ToLowerInvariant(), key.Choices) is { } near ? $" Did you mean '{near}'?" : "";

    private static string Describe(YamlNode node) => node switch
    {
        _ when IsNull(node) => "nothing",
        YamlScalarNode scalar => $"'{scalar.Value}'",
        YamlSequenceNode => "a list",
        _ => "a section",
    };

    private static JobOrigin At(string source, YamlNode node) => new(source, node.Start.Line, node.Start.Column);

    private void Fail(string? key, JobOrigin origin, string message) => _errors.Add(new JobError(key, origin, message));
}
