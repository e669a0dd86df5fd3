using System.Diagnostics;
using System.Runtime.CompilerServices;

namespace Sora.Benchmarks.Processes;

/// <summary>The real program of this checkout, as processes of its own.</summary>
internal static class SoraProgram
{
    public static string RepositoryRoot { get; } = Path.GetFullPath(Path.Combine(Path.GetDirectoryName(ThisFile())!, "..", "..", ".."));

    private static string Library { get; } = Path.Combine(RepositoryRoot, "src", "Sora.Cli", "bin", "Release", "net10.0", "sora.dll");

    /// <summary>Builds it, if sources changed. What is measured later must not be the shell script that looks for changes.</summary>
    public static void Build()
    {
        using var build = Process.Start(new ProcessStartInfo(Path.Combine(RepositoryRoot, "sora"), ["--version"]) { RedirectStandardOutput = true })!;
        build.StandardOutput.ReadToEnd();
        build.WaitForExit();
        if (build.ExitCode != 0)
            throw new InvalidOperationException($"sora --version ended with exit code {build.ExitCode}.");
    }

    /// <summary>Starts a verb of it. Standard input stays open as long as this process lives: managed workers end with it.</summary>
    /// <param name="log">File to which stderr, and stdout unless somebody reads it, is appended.</param>
    /// <param name="onLine">Takes each line of stdout.</param>
    /// <param name="arguments">The verb and its arguments.</param>
    /// <param name="environment">More variables.</param>
    public static ChildProcess Start(string log, Action<string>? onLine, IEnumerable<string> arguments, IReadOnlyDictionary<string, string>? environment = null)
    {
        var start = new ProcessStartInfo("dotnet", [Library, .. arguments]) { RedirectStandardInput = true, RedirectStandardOutput = true, RedirectStandardError = true };
        // As `sora train` starts its own workers.
        foreach (var variable in new[] { "OMP_NUM_THREADS", "MKL_NUM_THREADS" })
            start.Environment[variable] = "1";
        foreach (var (name, value) in environment ?? new Dictionary<string, string>())
            start.Environment[name] = value;
        return ChildProcess.Start(start, log, onLine);
    }

    private static string ThisFile([CallerFilePath] string file = "") => file;
}
