using Sora.Cli.Train;
using Sora.Protocol.Jobs;

namespace Sora.Cli.Worker;

/// <summary>What is shown to a coordinator: from a file, or from the environment.</summary>
internal static class WorkerToken
{
    /// <summary>Reads it.</summary>
    /// <param name="file">The file; null: the environment.</param>
    /// <exception cref="SoraException">There is none.</exception>
    public static string Read(string? file)
    {
        try
        {
            var token = file is null ? Environment.GetEnvironmentVariable(WorkerProcesses.TokenVariable) : File.ReadAllText(file).Trim();
            return token is { Length: > 0 }
                ? token
                : throw new SoraException($"There is no token to show the coordinator. Give its file with --token-file, or set {WorkerProcesses.TokenVariable}.", ExitCode.Usage);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new SoraException($"The token file {file} cannot be read: {e.Message}", ExitCode.Usage, e);
        }
    }
}
