using System.CommandLine;
using System.CommandLine.Parsing;

namespace Sora.Cli.Shell;

/// <summary>Refuses empty words: they are what a script's unset variable leaves, and would be taken for a default or a folder.</summary>
internal static class EmptyWords
{
    // Text may be empty.
    private static readonly string[] Texts = ["--prompt", "--text", "--set"];

    /// <summary>Refuses them in a verb and those below it, but for options that are empty by default.</summary>
    public static void Refuse(Command command)
    {
        foreach (var option in command.Options.Where(option => TakesWords(option.ValueType) && !Texts.Contains(option.Name) && !(option.HasDefaultValue && option.GetDefaultValue() is "")))
            option.Validators.Add(result => Check(result, option.Name));
        foreach (var argument in command.Arguments.Where(argument => TakesWords(argument.ValueType)))
            argument.Validators.Add(result => Check(result, argument.Name));
        foreach (var verb in command.Subcommands) Refuse(verb);
    }

    private static bool TakesWords(Type type) => type == typeof(string) || type == typeof(string[]);

    private static void Check(SymbolResult result, string name)
    {
        if (result.Tokens.Any(token => string.IsNullOrWhiteSpace(token.Value))) result.AddError($"'{name}' is empty.");
    }
}
