using System.Security.Cryptography;
using Sora.Cli.Train;
using Sora.Cli.Worker;
using Sora.Protocol.Jobs;

namespace Sora.Cli.Coordinators;

/// <summary>What workers must show to a coordinator of its own: the same after every restart, for they go on showing it.</summary>
internal static class CoordinatorToken
{
    /// <summary>Reads the token, or makes one the first time.</summary>
    /// <param name="file">The file it was told to read; null: none.</param>
    /// <param name="stateFolder">The coordinator's folder.</param>
    /// <returns>The token, and the file to show to those who add workers.</returns>
    /// <exception cref="SoraException">It can neither be read nor made.</exception>
    public static (string Token, string File) Of(string? file, string stateFolder)
    {
        if (file is not null) return (WorkerToken.Read(file), Path.GetFullPath(file));
        var own = Path.Combine(stateFolder, "token");
        var given = Environment.GetEnvironmentVariable(WorkerProcesses.TokenVariable);
        if (given is not { Length: > 0 } && File.Exists(own)) return (WorkerToken.Read(own), own);
        var token = given is { Length: > 0 } ? given : Convert.ToHexStringLower(RandomNumberGenerator.GetBytes(32));
        return (token, TokenFile.Write(stateFolder, token).Path);
    }
}
