using Sora.Protocol.Jobs;

namespace Sora.Federation.Aggregation.Updates;

/// <summary>An update, or its manifest, is not what this format allows: damaged on the way, malformed, or made with ill intent.</summary>
public sealed class InvalidUpdateException : SoraException
{
    /// <summary>Creates the error; the message says which part is wrong.</summary>
    public InvalidUpdateException(string message, Exception? inner = null) : base(message, Sora.Protocol.Jobs.ExitCode.InvalidInput, inner) { }
}
