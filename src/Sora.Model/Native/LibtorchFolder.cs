using System.Runtime.InteropServices;
using Sora.Protocol.Jobs;

namespace Sora.Model.Native;

/// <summary>Where the native libraries are.</summary>
internal static class LibtorchFolder
{
    /// <summary>Environment variable that names a folder holding another libtorch, such as PyTorch's own <c>torch/lib</c>.</summary>
    public const string Variable = "SORA_LIBTORCH";

    /// <summary>The folder that holds libtorch: the one the environment variable names, or the first of the program's own that has it.</summary>
    public static string Find()
    {
        var file = SharedLibrary.FileName("torch_cpu");
        if (Environment.GetEnvironmentVariable(Variable) is { Length: > 0 } named)
        {
            if (!File.Exists(Path.Combine(named, file)))
                throw new SoraException($"{Variable} is {named}, but there is no {file} in it. Name the folder that holds it, for example .../site-packages/torch/lib.", ExitCode.Usage);
            // TorchSharp would load that one too, and two in a process end it.
            if (Probed().FirstOrDefault(folder => File.Exists(Path.Combine(folder, file))) is { } own)
                throw new SoraException($"{Variable} is {named}, but TorchSharp would find {own} first. Delete {file} there, or unset {Variable}.", ExitCode.Usage);
            return Path.GetFullPath(named);
        }
        return Of(file) ?? throw new SoraException(
            $"libtorch is not here: no {file} in {string.Join(", ", Candidates())}. " +
            $"Set {Variable} to a folder that holds libtorch {TorchRuntime.ExpectedVersion}, for example PyTorch's .../site-packages/torch/lib, or build without -p:Torch=none.", ExitCode.Usage);
    }

    /// <summary>TorchSharp's own native library.</summary>
    public static string FindTorchSharp()
    {
        var file = SharedLibrary.FileName("LibTorchSharp");
        var folder = Of(file) ?? throw new SoraException($"TorchSharp's native library is not here: no {file} in {string.Join(", ", Candidates())}. Build or unpack the program again.");
        return Path.Combine(folder, file);
    }

    private static string? Of(string file) => Candidates().FirstOrDefault(folder => File.Exists(Path.Combine(folder, file)));

    // TorchSharp looks in the probed folders, so one that lies there must be taken. The build puts libtorch into a folder of its
    // own, where only we look: so another can take its place.
    private static IEnumerable<string> Candidates() => Probed().Append(Path.Combine(AppContext.BaseDirectory, "libtorch"));

    // The runtime's own list covers NuGet's layout under `dotnet run` and a flat published folder alike.
    private static IEnumerable<string> Probed()
    {
        var probed = AppContext.GetData("NATIVE_DLL_SEARCH_DIRECTORIES") as string ?? "";
        return new[] { AppContext.BaseDirectory, Path.Combine(AppContext.BaseDirectory, "runtimes", RuntimeIdentifier(), "native") }
            .Concat(probed.Split(Path.PathSeparator, StringSplitOptions.RemoveEmptyEntries))
            .Select(folder => Path.TrimEndingDirectorySeparator(Path.GetFullPath(folder)))
            .Distinct();
    }

    private static string RuntimeIdentifier()
    {
        var system = OperatingSystem.IsWindows() ? "win" : OperatingSystem.IsMacOS() ? "osx" : "linux";
        return $"{system}-{RuntimeInformation.ProcessArchitecture.ToString().ToLowerInvariant()}";
    }
}
