using Sora.Model.Data.Sources;

namespace Sora.Model.Data.Preparation;

/// <summary>The text a tokenizer is trained on: all of a small corpus, the beginnings of inputs spread over a large one.</summary>
internal static class TrainingText
{
    /// <summary>Text to train on at most, in characters: more hardly changes which pairs of bytes are frequent.</summary>
    public const long MaxChars = 32L << 20;

    // An input adds at least this much, else a corpus of a million files would give a million snippets.
    private const long MinCharsPerInput = 64 << 10;

    public static IEnumerable<string> Read(IReadOnlyList<CorpusInput> inputs, CancellationToken cancellationToken, long maxChars = MaxChars)
    {
        var count = (int)Math.Min(inputs.Count, Math.Max(1, maxChars / MinCharsPerInput));
        var rest = maxChars;
        for (var i = 0; i < count && rest > 0; i++)
        {
            var input = inputs[(int)((long)i * inputs.Count / count)];
            var share = rest / (count - i); // what small inputs leave over goes to those behind them
            foreach (var batch in input.ReadAsync(cancellationToken).ToBlockingEnumerable(cancellationToken))
            {
                foreach (var part in batch.Decode())
                {
                    var text = part.Text.Span[..(int)Math.Min(part.Text.Length, Math.Max(0, share))];
                    share -= text.Length;
                    rest -= text.Length;
                    if (text.Length > 0 && char.IsHighSurrogate(text[^1])) text = text[..^1];
                    yield return text.ToString();
                    if (share <= 0) break;
                }
                if (share <= 0) break;
            }
        }
    }
}
