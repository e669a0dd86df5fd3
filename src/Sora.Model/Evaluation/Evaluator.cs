using System.Runtime.InteropServices;
using Sora.Model.Checkpoints;
using Sora.Model.Zoo;
using Sora.Protocol.Jobs;
using TorchSharp;
using static TorchSharp.torch;

namespace Sora.Model.Evaluation;

/// <summary>How well a model predicts a text.</summary>
/// <param name="Loss">Mean cross-entropy in nats per token.</param>
/// <param name="Perplexity">e to the loss.</param>
/// <param name="BitsPerByte">Bits needed per UTF-8 byte of the text; comparable between tokenizers. The tokens that end documents cost bits but are no bytes.</param>
/// <param name="Tokens">Tokens predicted.</param>
/// <param name="Bytes">UTF-8 bytes of the text.</param>
public sealed record TextScore(double Loss, double Perplexity, double BitsPerByte, long Tokens, long Bytes);

/// <summary>
/// Scores a text. Every token is predicted exactly once, in windows of the context length that follow each other (a
/// window's first tokens see little before them, as in training); the very first token follows an end of text.
/// </summary>
public sealed class Evaluator
{
    private const int Ignored = -100; // cross_entropy's own default
    private const int LongestWindow = 2048; // what a published model allows may be far beyond this machine's memory

    private readonly LanguageModel _model;
    private readonly Device _device;
    private readonly int _endOfText;
    private readonly int _context;
    private readonly int _batch;

    /// <summary>Scores with a loaded model, in windows of its context length, at most 2048.</summary>
    public Evaluator(LoadedModel loaded, int batchSize = 8)
        : this(loaded.Model, loaded.Device, loaded.Description.EndOfText, Math.Min(loaded.Description.MaxPositions, LongestWindow), batchSize) { }

    /// <summary>Scores with a model in evaluation mode.</summary>
    /// <param name="model">The network.</param>
    /// <param name="device">Where it lives.</param>
    /// <param name="endOfText">The token between documents.</param>
    /// <param name="contextLength">Tokens in a window.</param>
    /// <param name="batchSize">Windows computed together; does not change the score beyond rounding.</param>
    public Evaluator(LanguageModel model, Device device, int endOfText, int contextLength, int batchSize)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(contextLength);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(batchSize);
        (_model, _device, _endOfText, _context, _batch) = (model, device, endOfText, contextLength, batchSize);
    }

    /// <summary>Scores a text.</summary>
    /// <param name="text">The text as tokens, an end-of-text token after each document.</param>
    /// <param name="progress">Told the tokens scored so far.</param>
    /// <param name="cancellationToken">Ends it early with an exception.</param>
    /// <exception cref="SoraException">The text is empty.</exception>
    public TextScore Score(IEnumerable<TokenizedText> text, IProgress<long>? progress = null, CancellationToken cancellationToken = default)
    {
        // Row r holds window r: inputs are columns 0..n-1, targets columns 1..n.
        var rows = new long[_batch * (_context + 1)];
        var (row, column, previous) = (0, 1, (long)_endOfText);
        var (nats, tokens, bytes) = (0.0, 0L, 0L);
        Array.Fill(rows, Ignored);
        rows[0] = previous;
        foreach (var chunk in text)
        {
            bytes += chunk.Utf8Bytes;
            foreach (var token in chunk.Tokens.Span)
            {
                rows[(row * (_context + 1)) + column] = previous = token;
                tokens++;
                if (++column <= _context)
                    continue;
                (row, column) = (row + 1, 1);
                if (row == _batch)
                {
                    cancellationToken.ThrowIfCancellationRequested();
                    nats += LossSum(rows, row);
                    progress?.Report(tokens);
                    Array.Fill(rows, Ignored);
                    row = 0;
                }
                rows[row * (_context + 1)] = previous;
            }
        }
        if (tokens == 0 || bytes == 0)
            throw new SoraException("There is no text to evaluate on: the input is empty.", ExitCode.InvalidInput);
        if (row > 0 || column > 1)
            nats += LossSum(rows, column > 1 ? row + 1 : row);
        progress?.Report(tokens);
        return new TextScore(nats / tokens, Math.Exp(nats / tokens), nats / Math.Log(2) / bytes, tokens, bytes);
    }

    private double LossSum(long[] rows, int count)
    {
        using var guard = no_grad();
        using var scope = NewDisposeScope();
        var all = tensor(rows).view(_batch, _context + 1).narrow(0, 0, count).to(_device); // [batch, time + 1]
        var logits = _model.forward(all.narrow(1, 0, _context).clamp(min: 0)); // [batch, time, vocab]; padding is read as token 0 and has no target
        var losses = nn.functional.cross_entropy(logits.flatten(0, 1).to(ScalarType.Float32), all.narrow(1, 1, _context).flatten(), ignore_index: Ignored, reduction: nn.Reduction.None);
        return losses.to(ScalarType.Float64).sum().item<double>();
    }
}
