using TorchSharp;
using static TorchSharp.torch;

namespace Sora.Model.Zoo;

/// <summary>
/// A network that predicts the next token. Knows nothing of ranks, sockets or actors: single-device model code.
/// Parameter names follow the Hugging Face Llama layout (see <c>Checkpoints</c> for what is written to disk).
/// </summary>
public abstract class LanguageModel(string name) : nn.Module<Tensor, Tensor>(name)
{
    /// <summary>Entries of the vocabulary.</summary>
    public abstract int VocabSize { get; }

    /// <summary>Longest input, in tokens.</summary>
    public abstract int MaxPositions { get; }

    /// <summary>Logits of every position.</summary>
    /// <param name="tokens">[batch, time] int64</param>
    /// <returns>[batch, time, vocab]</returns>
    public abstract override Tensor forward(Tensor tokens);

    /// <summary>Floating-point operations of forward and backward per token: 6N plus attention (Kaplan et al. 2020; Chowdhery et al. 2022, appendix B).</summary>
    public abstract double FlopsPerToken(int contextLength);

    /// <summary>Fresh state for generating token by token (a KV cache, or the recurrent state).</summary>
    public abstract DecodingState NewDecodingState();

    /// <summary>Feeds more tokens of one sequence and returns the logits after the last.</summary>
    /// <param name="tokens">[1, time] int64, following what <paramref name="state"/> has seen</param>
    /// <param name="state">Updated in place.</param>
    /// <returns>[vocab]</returns>
    public abstract Tensor Decode(Tensor tokens, DecodingState state);
}

/// <summary>What a model remembers of the tokens it was fed; owns its tensors.</summary>
public abstract class DecodingState : IDisposable
{
    /// <summary>Tokens seen.</summary>
    public int Length { get; set; }

    /// <inheritdoc/>
    public abstract void Dispose();
}
