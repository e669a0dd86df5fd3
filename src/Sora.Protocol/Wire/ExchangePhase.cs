namespace Sora.Protocol.Wire;

/// <summary>What a frame on an exchange connection is for. Numbers are part of the wire format.</summary>
public enum ExchangePhase : byte
{
    /// <summary>A piece of one subtree's sum, sent to the owner of the chunk.</summary>
    GradientScatter = 1,
    /// <summary>A piece of the finished sum, sent by the owner of the chunk to everyone.</summary>
    GradientResult = 2,
    /// <summary>A worker's bookkeeping of a training step.</summary>
    Totals = 3,
    /// <summary>A worker's bookkeeping of an evaluation.</summary>
    EvaluationTotals = 4,
    /// <summary>The sender leaves on purpose; the payload says why, in UTF-8.</summary>
    Bye = 5,
    /// <summary>A joiner asks for a piece of the state the generation begins with.</summary>
    StateRequest = 6,
    /// <summary>A piece of the state, straight from the memory of one who holds it.</summary>
    StateChunk = 7,
    /// <summary>Instead of a piece: the state here has another size, which the offset tells.</summary>
    StateMismatch = 8,
    /// <summary>To those who wait for a joiner: it still takes over the state, and more of it has come.</summary>
    StateProgress = 9,
    /// <summary>Handshake, dialer to acceptor: who I am, and a nonce.</summary>
    Greeting = 16,
    /// <summary>Handshake, acceptor to dialer: my nonce, and proof that I know the secret.</summary>
    Challenge = 17,
    /// <summary>Handshake, dialer to acceptor: proof that I know the secret.</summary>
    Proof = 18,
    /// <summary>Handshake, acceptor to dialer: you are in.</summary>
    Welcome = 19,
    /// <summary>Handshake, either way: no, and why, in UTF-8.</summary>
    Refusal = 20,
}
