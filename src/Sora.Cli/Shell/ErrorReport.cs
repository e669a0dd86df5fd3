using System.CommandLine;
using Sora.Protocol.Jobs;

namespace Sora.Cli.Shell;

/// <summary>Errors on stderr: one block each, never a stack trace for something the user can mend.</summary>
internal static class ErrorReport
{
    public static void Write(SoraException error)
    {
        if (error is JobErrors { Errors.Count: > 1 } several)
        {
            Console.Error.WriteLine($"sora: the {several.Noun} has {several.Errors.Count} errors:");
            foreach (var one in several.Errors) Console.Error.WriteLine($"  {one}");
            return;
        }
        Console.Error.WriteLine($"sora: {error.Message}");
    }

    public static void Usage(ParseResult result)
    {
        // With an unknown verb the library also complains that there is none.
        var errors = result.Errors.Select(error => error.Message).ToArray();
        foreach (var error in result.UnmatchedTokens.Count > 0 ? errors.Where(message => result.UnmatchedTokens.Any(message.Contains)) : errors)
            Console.Error.WriteLine($"sora: {error}");
        foreach (var word in result.UnmatchedTokens)
        {
            var command = result.CommandResult.Command;
            var known = command.Subcommands.Select(verb => verb.Name).Concat(command.Options.Select(option => option.Name));
            if (NearestName.Of(word, known) is { } near) Console.Error.WriteLine($"sora: did you mean '{near}'?");
        }
        Console.Error.WriteLine($"sora: '{CommandLineOf(result)} --help' shows what is possible.");
    }

    public static void Internal(Exception error)
    {
        Console.Error.WriteLine($"sora: an error that should not happen: {error.Message}");
        Console.Error.WriteLine("sora: please report it with what follows and the command you ran.");
        Console.Error.WriteLine(error);
    }

    private static string CommandLineOf(ParseResult result)
    {
        var names = new List<string>();
        for (var command = result.CommandResult; command is not null; command = command.Parent as System.CommandLine.Parsing.CommandResult)
            names.Insert(0, command.Command is RootCommand ? "sora" : command.Command.Name);
        return string.Join(' ', names);
    }
}
