namespace Sora.Protocol.Jobs;

/// <summary>
/// The key a job property has in YAML, in <c>SORA_*</c> variables and in <c>--set</c>, with what it means.
/// Without a name the key is the property's name in snake_case.
/// </summary>
[AttributeUsage(AttributeTargets.Property)]
public sealed class JobKeyAttribute(string description) : Attribute
{
    /// <summary>One line for help texts, errors and the documentation.</summary>
    public string Description { get; } = description;

    /// <summary>The key, where it differs from the property's name in snake_case.</summary>
    public string? Name { get; init; }
}
