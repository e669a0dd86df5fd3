using Sora.Protocol.Jobs;

namespace Sora.Cli.Train;

/// <summary>
/// The file with what workers must show to the coordinator, for those who add a worker while it runs: only this user can read it,
/// and it is gone when the coordinator is.
/// </summary>
internal sealed class TokenFile : IDisposable
{
    private TokenFile(string path) => Path = path;

    /// <summary>The file.</summary>
    public string Path { get; }

    /// <summary>Writes the file.</summary>
    /// <exception cref="SoraException">The folder cannot be written.</exception>
    public static TokenFile Write(string folder, string token)
    {
        var path = System.IO.Path.Combine(folder, "token");
        try
        {
            Directory.CreateDirectory(folder);
            File.Delete(path); // the mode is that of the one who creates it
            var options = new FileStreamOptions { Mode = FileMode.CreateNew, Access = FileAccess.Write };
            if (!OperatingSystem.IsWindows()) options.UnixCreateMode = UnixFileMode.UserRead | UnixFileMode.UserWrite;
            using var file = new StreamWriter(path, options);
            file.WriteLine(token);
            return new TokenFile(path);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new SoraException($"The token for workers cannot be written: {e.Message}", ExitCode.Failure, e);
        }
    }

    public void Dispose()
    {
        try
        {
            File.Delete(Path);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            // A token of a coordinator that is gone opens nothing.
        }
    }
}
