using System.Runtime.InteropServices;
using Sora.Model.Checkpoints;
using Sora.Model.Native;
using Sora.Model.Tokenization;
using Sora.Model.Zoo;
using static TorchSharp.torch;

namespace Sora.Model.Inference;

/// <summary>Continues text with a model, token by token, feeding each token once (the model keeps what it computed for those before).</summary>
public sealed class TextGenerator
{
    private readonly LanguageModel _model;
    private readonly ITokenizer _tokenizer;
    private readonly Device _device;
    private readonly int _endOfText;
    private readonly int _positions;

    /// <summary>Generates with a loaded model.</summary>
    public TextGenerator(LoadedModel loaded) : this(loaded.Model, loaded.Tokenizer, loaded.Device, loaded.Description.EndOfText) { }

    /// <summary>Generates with a model in evaluation mode.</summary>
    /// <param name="model">The network.</param>
    /// <param name="tokenizer">Its tokenizer.</param>
    /// <param name="device">Where the network lives.</param>
    /// <param name="endOfText">The token that ends a text; null: the tokenizer's.</param>
    public TextGenerator(LanguageModel model, ITokenizer tokenizer, Device device, int? endOfText = null)
    {
        (_model, _tokenizer, _device) = (model, tokenizer, device);
        _endOfText = endOfText ?? tokenizer.EndOfText;
        _positions = model is Lstm ? int.MaxValue : model.MaxPositions;
    }

    /// <summary>How many tokens at the end of a prompt are read where it is longer than the context; null where all are.</summary>
    public (int Tokens, int Read)? Shortened(string prompt) =>
        _tokenizer.Encode(prompt).Length is var tokens && tokens > _positions ? (tokens, Kept) : null;

    /// <summary>
    /// The continuation of a prompt, in pieces of whole characters, as it comes into being; it ends where the model ends the
    /// text or at the given number of tokens. When the context is full (or the prompt longer than it) the model goes on from
    /// the last half of it. An empty prompt begins a new text.
    /// </summary>
    /// <exception cref="Protocol.Jobs.SoraException">An option is out of range, or the model has diverged.</exception>
    public IEnumerable<string> Generate(string prompt, GenerationOptions options, CancellationToken cancellationToken = default)
    {
        options.Check();
        var tokens = _tokenizer.Encode(prompt);
        return Texts(tokens.Length > 0 ? tokens : [_endOfText], options, cancellationToken);
    }

    private int Kept => Math.Max(1, _positions / 2);

    /// <summary>The tokens that continue others; without the one that ends the text.</summary>
    internal IEnumerable<int> GenerateTokens(IReadOnlyList<int> prompt, GenerationOptions options, CancellationToken cancellationToken)
    {
        var seen = new List<int>(prompt);
        var pending = prompt;
        var state = _model.NewDecodingState();
        try
        {
            for (var index = 0; index < options.MaxNewTokens; index++)
            {
                cancellationToken.ThrowIfCancellationRequested();
                if (state.Length + (long)pending.Count > _positions)
                {
                    // Cached keys know their positions, so they cannot slide: the kept half is fed afresh, from position 0.
                    state.Dispose();
                    state = _model.NewDecodingState();
                    pending = seen[^Kept..];
                    seen = [.. pending];
                }
                var next = TokenSampler.Choose(Logits(pending, state), options, index);
                if (next == _endOfText || next == _tokenizer.EndOfText)
                    yield break;
                yield return next;
                seen.Add(next);
                pending = [next];
            }
        }
        finally
        {
            state.Dispose();
        }
    }

    private IEnumerable<string> Texts(int[] prompt, GenerationOptions options, CancellationToken cancellationToken)
    {
        var stream = new Utf8Stream(_tokenizer, prompt);
        foreach (var token in GenerateTokens(prompt, options, cancellationToken))
            if (stream.Append(token) is { Length: > 0 } text)
                yield return text;
        if (stream.Complete() is { Length: > 0 } rest)
            yield return rest;
    }

    // Of the ids the tokenizer knows: a network's vocabulary may be padded.
    private float[] Logits(IReadOnlyList<int> tokens, DecodingState state)
    {
        using var guard = no_grad();
        using var scope = NewDisposeScope();
        var input = tensor([.. tokens.Select(token => (long)token)]).unsqueeze(0).to(_device); // [1, time]
        var logits = _model.Decode(input, state).narrow(0, 0, _tokenizer.VocabSize).to(ScalarType.Float32).cpu().contiguous();
        return MemoryMarshal.Cast<byte, float>(HostMemory.BytesOf(logits)).ToArray();
    }
}
