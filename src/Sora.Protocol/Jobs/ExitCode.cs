namespace Sora.Protocol.Jobs;

/// <summary>Exit codes of <c>sora</c>; documented in the README.</summary>
public static class ExitCode
{
    /// <summary>All went well.</summary>
    public const int Ok = 0;
    /// <summary>A run-time failure.</summary>
    public const int Failure = 1;
    /// <summary>Wrong usage or configuration.</summary>
    public const int Usage = 2;
    /// <summary>The coordinator cannot be reached.</summary>
    public const int Unreachable = 3;
    /// <summary>Data, model or checkpoint are not valid.</summary>
    public const int InvalidInput = 4;
    /// <summary>The loss is not finite.</summary>
    public const int Diverged = 5;
    /// <summary>Stopped on request with a checkpoint; run again to resume.</summary>
    public const int Resumable = 75;
}

/// <summary>An error the user can do something about: one clear message and the exit code of the process.</summary>
public class SoraException : Exception
{
    /// <summary>Creates the error. The message tells what happened, where, and what to do.</summary>
    public SoraException(string message, int exitCode = Jobs.ExitCode.Failure, Exception? inner = null) : base(message, inner) => ExitCode = exitCode;

    /// <summary>One of <see cref="Jobs.ExitCode"/>.</summary>
    public int ExitCode { get; }
}
