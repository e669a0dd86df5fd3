using System.Runtime.CompilerServices;
using Sora.Model.Data;
using Sora.Model.Data.Sources;
using Sora.Model.Tokenization;
using Sora.Protocol.Jobs;

namespace Sora.Model.Evaluation;

/// <summary>Text to score a model on: raw, as <c>data.train</c> names it, or the held-out part of a prepared corpus.</summary>
public static class EvaluationText
{
    private const int ChunkTokens = 1 << 16;

    /// <summary>Reads text and turns it into tokens, an end of text after each document.</summary>
    /// <exception cref="SoraException">An input cannot be used; the message says why.</exception>
    public static async IAsyncEnumerable<TokenizedText> ReadAsync(
        DataSettings data, ITokenizer tokenizer, IProgress<PrepareProgress>? progress = null, [EnumeratorCancellation] CancellationToken cancellationToken = default)
    {
        using var downloads = new Downloads(CorpusCache.Root(data));
        foreach (var input in await InputList.FindAsync(data, downloads, progress, cancellationToken))
        {
            await foreach (var batch in input.ReadAsync(cancellationToken))
            {
                foreach (var part in batch.Decode())
                {
                    var tokens = tokenizer.Encode(part.Text.Span);
                    yield return new TokenizedText(part.EndsDocument ? [.. tokens, tokenizer.EndOfText] : tokens, part.Utf8Bytes);
                }
            }
        }
    }

    /// <summary>The held-out part of a prepared corpus, as it lies there.</summary>
    /// <param name="corpus">The corpus.</param>
    /// <param name="tokenizerFolder">Folder of the model's tokenizer, which must be the corpus's.</param>
    /// <exception cref="SoraException">The corpus was made with another tokenizer, or holds nothing out.</exception>
    public static IEnumerable<TokenizedText> HeldOut(PreparedCorpus corpus, string tokenizerFolder)
    {
        var (own, other) = (Path.Combine(tokenizerFolder, "tokenizer.json"), Path.Combine(corpus.Folder, "tokenizer.json"));
        if (!File.ReadAllBytes(own).AsSpan().SequenceEqual(File.ReadAllBytes(other)))
            throw new SoraException($"The corpus in {corpus.Folder} was made with another tokenizer than the model in {tokenizerFolder}. Evaluate on the text itself.", ExitCode.InvalidInput);
        if (corpus.Manifest.Validation.Tokens == 0)
            throw new SoraException($"The corpus in {corpus.Folder} holds nothing out. Prepare one with a validation split above 0, or evaluate on text.", ExitCode.InvalidInput);
        return Chunks(corpus);
    }

    private static IEnumerable<TokenizedText> Chunks(PreparedCorpus corpus)
    {
        var shards = corpus.Manifest.Validation.Shards;
        for (var shard = 0; shard < shards.Count; shard++)
        {
            for (long offset = 0; offset < shards[shard].Tokens; offset += ChunkTokens)
            {
                var tokens = new int[(int)Math.Min(ChunkTokens, shards[shard].Tokens - offset)];
                corpus.ReadValidation(shard, offset, tokens);
                // The bytes of a shard are known as a whole, so its first chunk brings them.
                yield return new TokenizedText(tokens, offset == 0 ? shards[shard].TextBytes : 0);
            }
        }
    }
}
