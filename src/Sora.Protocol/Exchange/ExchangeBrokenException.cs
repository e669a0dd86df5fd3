namespace Sora.Protocol.Exchange;

/// <summary>The exchange cannot finish this step: the message says which peer, what happened and what was waited for.</summary>
public sealed class ExchangeBrokenException : Exception
{
    /// <summary>Creates the exception; nobody is under suspicion.</summary>
    public ExchangeBrokenException(string message, Exception? inner = null) : this(message, [], inner) { }

    /// <summary>Creates the exception.</summary>
    public ExchangeBrokenException(string message, IReadOnlyList<string> suspects, Exception? inner = null) : base(message, inner) => Suspects = suspects;

    /// <summary>
    /// Ids of the workers this one could not reach, or that closed the connection without a goodbye, sent something wrong,
    /// refused, or were silent while something of theirs was missing. A peer that said goodbye is alive and well: it is not one.
    /// </summary>
    public IReadOnlyList<string> Suspects { get; }
}
