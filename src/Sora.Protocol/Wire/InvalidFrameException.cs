namespace Sora.Protocol.Wire;

/// <summary>Bytes that are not a valid frame: damaged on the way, or sent by something that does not speak this protocol.</summary>
public sealed class InvalidFrameException : Exception
{
    /// <summary>Creates the exception; the message says which rule the bytes break.</summary>
    public InvalidFrameException(string message, Exception? inner = null) : base(message, inner) { }
}
