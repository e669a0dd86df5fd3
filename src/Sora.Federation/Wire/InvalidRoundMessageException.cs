using Sora.Protocol.Jobs;

namespace Sora.Federation.Wire;

/// <summary>Bytes are not what a format of this folder writes, or a value is none that may travel. The message is fit for the other end.</summary>
public sealed class InvalidRoundMessageException : SoraException
{
    /// <summary>Creates the exception.</summary>
    public InvalidRoundMessageException(string message, Exception? inner = null) : base(message, Sora.Protocol.Jobs.ExitCode.InvalidInput, inner) { }
}
