namespace Sora.Cli.Train;

/// <summary>The command that goes on with a run that ended early: as it was typed, with <c>--resume auto</c>.</summary>
internal static class ResumeCommand
{
    /// <summary>Made from the words of the command line, without the program's name.</summary>
    public static string Of(IEnumerable<string> words)
    {
        var kept = new List<string>();
        var isResumeValue = false;
        foreach (var word in words)
        {
            if (!isResumeValue && word is not ("--resume" or "--overwrite")) kept.Add(Quoted(word));
            isResumeValue = word == "--resume";
        }
        return $"sora {string.Join(' ', kept)} --resume auto";
    }

    private static string Quoted(string word) =>
        word.Length > 0 && word.All(letter => char.IsLetterOrDigit(letter) || "-_./=:,@%+\\".Contains(letter)) ? word : $"'{word.Replace("'", "'\\''")}'";
}
