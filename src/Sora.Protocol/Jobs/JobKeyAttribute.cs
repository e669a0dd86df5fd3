namespace Sora.Protocol.Jobs;

/// <summary>What a job key can change.</summary>
public enum JobEffect
{
    /// <summary>The weights.</summary>
    Result,
    /// <summary>The weights, but only through the corpus, whose own hash tells.</summary>
    Corpus,
    /// <summary>Nothing a run computes: where files go, how often something is reported, who computes.</summary>
    None,
}

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

    /// <summary>What the key can change.</summary>
    public JobEffect Effect { get; init; } = JobEffect.Result;

    /// <summary>Other spellings that are understood.</summary>
    public string[] Aliases { get; init; } = [];

    /// <summary>Whether it names files: written in a job file it is relative to that file's folder, given otherwise to the working directory.</summary>
    public bool IsPath { get; init; }

    /// <summary>For a section: the key a bare value stands for, as <c>tokenizer: byte</c> stands for <c>tokenizer: { type: byte }</c>.</summary>
    public string? Shorthand { get; init; }
}
