using System.Reflection;
using System.Text.Json;

namespace Sora.Protocol.Jobs;

/// <summary>The keys a job can have, read from the <see cref="JobKeyAttribute"/>s: the one place that knows their names and order.</summary>
public static class JobSchema
{
    /// <summary>Top-level keys in the order of <see cref="TrainingJob"/>.</summary>
    public static IReadOnlyList<JobKey> Keys { get; } = JobKey.Of(typeof(TrainingJob), parent: null, new TrainingJob());

    /// <summary>Every key that has a value of its own, in order.</summary>
    public static IReadOnlyList<JobKey> Leaves { get; } = LeavesOf(Keys);

    /// <summary>The key of a dotted path as written by <see cref="JobKey.Path"/>.</summary>
    /// <exception cref="KeyNotFoundException">There is no such key.</exception>
    public static JobKey Leaf(string path) =>
        Leaves.FirstOrDefault(key => key.Path == path) ?? throw new KeyNotFoundException($"There is no job key '{path}'.");

    /// <summary>Brings the spellings people use (kebab-case, upper case) to the one of the keys.</summary>
    internal static string Normalize(string name) => name.Replace('-', '_').ToLowerInvariant();

    /// <summary>A job with the given values, by path, and defaults for the rest.</summary>
    internal static TrainingJob Build(IReadOnlyDictionary<string, object?> values) =>
        (TrainingJob)Build(typeof(TrainingJob), Keys, values);

    /// <summary>The keys that have a value of their own, of these and below them.</summary>
    internal static IReadOnlyList<JobKey> LeavesOf(IReadOnlyList<JobKey> keys) => keys.SelectMany(key => key.IsSection ? LeavesOf(key.Children) : [key]).ToArray();

    /// <summary>A record with the given values, by path, and defaults for the rest.</summary>
    internal static object Build(Type type, IReadOnlyList<JobKey> keys, IReadOnlyDictionary<string, object?> values)
    {
        var instance = Activator.CreateInstance(type)!;
        foreach (var key in keys)
        {
            if (key.IsSection) key.Property.SetValue(instance, Build(key.Property.PropertyType, key.Children, values));
            else if (values.TryGetValue(key.Path, out var value)) key.Property.SetValue(instance, value);
        }
        return instance;
    }
}

/// <summary>One key of a job.</summary>
public sealed class JobKey
{
    private readonly JobKeyAttribute _attribute;
    private readonly JobKey? _parent;

    private JobKey(PropertyInfo property, JobKeyAttribute attribute, JobKey? parent, object? defaultValue)
    {
        Property = property;
        _attribute = attribute;
        _parent = parent;
        Name = attribute.Name ?? JsonNamingPolicy.SnakeCaseLower.ConvertName(property.Name);
        Path = parent is null ? Name : $"{parent.Path}.{Name}";
        Default = defaultValue;
        Children = IsSection ? Of(property.PropertyType, this, defaultValue!) : [];
    }

    /// <summary>The key inside its section.</summary>
    public string Name { get; }

    /// <summary>The key with its section, dotted.</summary>
    public string Path { get; }

    /// <summary>What it means, in a line.</summary>
    public string Description => _attribute.Description;

    /// <summary>What it can change.</summary>
    public JobEffect Effect => _attribute.Effect;

    /// <summary>Other spellings that are understood.</summary>
    public IReadOnlyList<string> Aliases => _attribute.Aliases;

    /// <summary>Whether it names files, which are looked for from the job file's folder.</summary>
    public bool IsPath => _attribute.IsPath;

    /// <summary>For a section: the key a bare value stands for.</summary>
    public JobKey? Shorthand => Children.FirstOrDefault(child => child.Name == _attribute.Shorthand);

    /// <summary>Whether it holds keys rather than a value.</summary>
    public bool IsSection => Property.PropertyType.IsClass && Property.PropertyType.Namespace == Property.DeclaringType!.Namespace;

    /// <summary>The keys of a section.</summary>
    public IReadOnlyList<JobKey> Children { get; }

    /// <summary>The value when the user says nothing; null where it is derived as the description says.</summary>
    public object? Default { get; }

    /// <summary>Whether the key may be left to a derived default.</summary>
    public bool IsOptional => Nullable.GetUnderlyingType(Property.PropertyType) is not null;

    /// <summary>The type of the value.</summary>
    public Type ValueType => Nullable.GetUnderlyingType(Property.PropertyType) ?? Property.PropertyType;

    /// <summary>The type as people say it.</summary>
    public string TypeName => ValueType switch
    {
        { IsEnum: true } => string.Join('|', Choices),
        var type when type == typeof(int) || type == typeof(long) => "whole number",
        var type when type == typeof(double) => "number",
        var type when type == typeof(WorkerRange) => "N or MIN:MAX",
        var type when type == typeof(bool) => "true|false",
        var type when type == typeof(string) => "text",
        _ => IsSection ? "section" : "list of texts",
    };

    /// <summary>The allowed values of a choice.</summary>
    public IReadOnlyList<string> Choices => ValueType.IsEnum ? Enum.GetNames(ValueType).Select(name => name.ToLowerInvariant()).ToArray() : [];

    internal PropertyInfo Property { get; }

    /// <summary>The value a job, or another record of settings, has for this key.</summary>
    public object? ValueIn(object settings) => Property.GetValue(_parent is null ? settings : _parent.ValueIn(settings));

    /// <summary>A value of this key as it is written in a job file.</summary>
    public static string Spell(object? value) => value switch
    {
        null => "null",
        bool flag => flag ? "true" : "false",
        Enum choice => choice.ToString().ToLowerInvariant(),
        IReadOnlyList<string> list => $"[{string.Join(", ", list)}]",
        double number => number.ToString("R", System.Globalization.CultureInfo.InvariantCulture).ToLowerInvariant(),
        IFormattable number => number.ToString(null, System.Globalization.CultureInfo.InvariantCulture),
        _ => value.ToString()!,
    };

    internal static JobKey[] Of(Type type, JobKey? parent, object defaults) =>
        type.GetProperties()
            .Where(property => property.IsDefined(typeof(JobKeyAttribute)))
            .OrderBy(property => property.MetadataToken) // declaration order; reflection alone promises none
            .Select(property => new JobKey(property, property.GetCustomAttribute<JobKeyAttribute>()!, parent, property.GetValue(defaults)))
            .ToArray();
}
