using System.Text.RegularExpressions;
using Sora.Protocol.Jobs;

namespace Sora.Model.Native;

/// <summary>
/// Loads TorchSharp's own native library. Version 0.107.0 is built on a newer system than most run: it asks libstdc++ for
/// GLIBCXX_3.4.32 (gcc 13.2), which Debian 12, Ubuntu 22.04 and RHEL 9 lack. The only symbol of that version is a marker
/// left by &lt;iostream&gt; that nothing calls, so on such a system a copy with that version made optional is loaded instead.
/// The original is never touched: it may be a hard link into the NuGet cache.
/// </summary>
internal static partial class TorchSharpLibrary
{
    private const string HarmlessVersion = "GLIBCXX_3.4.32";

    /// <summary>Loads it and returns the file that was loaded: the original, or the mended copy.</summary>
    public static string Load(string original, string libtorchVersion)
    {
        var error = SharedLibrary.TryLoadNow(original, out _);
        if (error is null)
            return original;
        if (OperatingSystem.IsLinux() && MissingVersion().Match(error) is { Success: true } missing)
        {
            if (missing.Groups["version"].Value != HarmlessVersion)
                throw new SoraException($"{original} needs {missing.Groups["version"].Value}, which this system does not have. Use a newer distribution: {error}", ExitCode.Usage);
            var copy = WriteMendedCopy(original);
            error = SharedLibrary.TryLoadNow(copy, out _);
            if (error is null)
                return copy;
        }
        throw new SoraException($"TorchSharp's native library does not load: {error}. It is built for libtorch {TorchRuntime.ExpectedVersion}; loaded is libtorch {libtorchVersion}.", ExitCode.Usage);
    }

    /// <summary>Writes the mended copy beside the original or, where that folder is read-only, into the user's cache folder.</summary>
    internal static string WriteMendedCopy(string original)
    {
        var bytes = File.ReadAllBytes(original);
        if (ElfVersionNeeds.Relax(bytes, HarmlessVersion) == 0)
            throw new SoraException($"{original} does not ask for {HarmlessVersion}; it is not the library TorchSharp 0.107.0 ships. Restore the NuGet packages again.");
        var name = Path.GetFileNameWithoutExtension(original) + "." + HarmlessVersion + "-optional.so";
        var cache = Path.Combine(Environment.GetFolderPath(Environment.SpecialFolder.LocalApplicationData, Environment.SpecialFolderOption.Create), "sora", "native");
        Exception? refused = null;
        foreach (var folder in new[] { Path.GetDirectoryName(original)!, cache })
        {
            try
            {
                return WriteOnce(Path.Combine(folder, name), bytes);
            }
            catch (Exception error) when (error is IOException or UnauthorizedAccessException)
            {
                refused = error;
            }
        }
        throw new SoraException($"No folder to write a mended copy of {original} to: neither beside it nor {cache}. Make one of them writable.", ExitCode.Failure, refused);
    }

    // Several workers start at once: each writes its own temporary file, the rename is atomic, and all write the same bytes.
    private static string WriteOnce(string path, byte[] bytes)
    {
        if (File.Exists(path) && File.ReadAllBytes(path).AsSpan().SequenceEqual(bytes))
            return path;
        Directory.CreateDirectory(Path.GetDirectoryName(path)!);
        var temporary = $"{path}.{Guid.NewGuid():n}.tmp";
        try
        {
            File.WriteAllBytes(temporary, bytes);
            File.Move(temporary, path, overwrite: true);
        }
        finally
        {
            File.Delete(temporary);
        }
        return path;
    }

    [GeneratedRegex(@"version `(?<version>[A-Z0-9_.]+)' not found")]
    private static partial Regex MissingVersion();
}
