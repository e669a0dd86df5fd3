namespace Sora.Cli.Shell;

/// <summary>Warnings of verbs that have no display.</summary>
internal static class Warnings
{
    /// <summary>Writes them to stderr.</summary>
    public static void Write(IEnumerable<string> warnings)
    {
        foreach (var warning in warnings) Console.Error.WriteLine($"sora: warning: {warning}");
    }
}
