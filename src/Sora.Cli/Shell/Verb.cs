using System.CommandLine;

namespace Sora.Cli.Shell;

/// <summary>A command with examples, which its <c>--help</c> shows.</summary>
internal sealed class Verb : Command, IHasExamples
{
    public Verb(string name, string description, params string[] examples) : base(name, description) => Examples = examples;

    /// <inheritdoc/>
    public IReadOnlyList<string> Examples { get; }
}

/// <summary>Something whose <c>--help</c> ends with examples.</summary>
internal interface IHasExamples
{
    /// <summary>Whole command lines, with a comment where one helps.</summary>
    IReadOnlyList<string> Examples { get; }
}
