namespace Sora.Cli.Train;

/// <summary>The command that goes on with a run that ended early: as it was typed, with <c>--resume auto</c>.</summary>
internal static class ResumeCommand
{
    /// <summary>Environment variable in which the launcher says by what name it was called.</summary>
    public const string ProgramVariable = "SORA_COMMAND";

    /// <summary>Made from the words of the command line.</summary>
    /// <param name="program">What the program was called by; null or empty where nobody knows.</param>
    /// <param name="words">The words after it.</param>
    public static string Of(string? program, IEnumerable<string> words)
    {
        var kept = new List<string>();
        var isResumeValue = false;
        foreach (var word in words)
        {
            if (!isResumeValue && word is not ("--resume" or "--overwrite")) kept.Add(Quoted(word));
            isResumeValue = word == "--resume";
        }
        return $"{(string.IsNullOrEmpty(program) ? "sora" : Quoted(program))} {string.Join(' ', kept)} --resume auto";
    }

    private static string Quoted(string word) =>
        word.Length > 0 && word.All(letter => char.IsLetterOrDigit(letter) || "-_./=:,@%+\\".Contains(letter)) ? word : $"'{word.Replace("'", "'\\''")}'";
}
