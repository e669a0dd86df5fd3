using Sora.Model.Checkpoints;
using Sora.Model.Data;
using Sora.Model.Tokenization;
using Sora.Protocol.Jobs;

namespace Sora.Model.Evaluation;

/// <summary>Text for an evaluation: any input training reads, tokenized by the model's own tokenizer.</summary>
public static class EvaluationCorpus
{
    private const int ChunkTokens = 1 << 16;

    /// <summary>Opens the corpus to score a model on; prepares it first where it is not prepared yet.</summary>
    /// <param name="loaded">The model.</param>
    /// <param name="data">What to read; all of it is evaluated, except of a prepared corpus, see <see cref="Texts"/>.</param>
    /// <param name="progress">Told how far a preparation is.</param>
    /// <param name="cancellationToken">Stops a preparation.</param>
    /// <exception cref="SoraException">An input cannot be used, or the corpus was prepared with another tokenizer.</exception>
    public static async Task<PreparedCorpus> OpenAsync(LoadedModel loaded, DataSettings data, IProgress<PrepareProgress>? progress = null, CancellationToken cancellationToken = default)
    {
        var tokenizer = new TokenizerSettings { Type = TokenizerKind.File, Path = loaded.Path, VocabSize = loaded.Tokenizer.VocabSize };
        var corpus = await CorpusCache.GetAsync(data with { ValidationSplit = 0 }, tokenizer, progress, cancellationToken: cancellationToken);
        var ours = Disk.Digest(Path.Combine(loaded.Path, TokenizerJson.FileName)).Sha256;
        if (corpus.Manifest.Tokenizer.Files.Any(file => file.Name == TokenizerJson.FileName && file.Sha256 == ours))
            return corpus;
        var (kind, size) = (corpus.Manifest.Tokenizer.Kind, corpus.Manifest.Tokenizer.VocabSize);
        corpus.Dispose();
        throw new SoraException(
            $"{corpus.Folder} was prepared with another tokenizer ({kind}, {size} entries) than the one of {loaded.Path} ({loaded.Tokenizer.Kind}, {loaded.Tokenizer.VocabSize}). " +
            "Give the text itself, or a corpus prepared with the model's tokenizer.", ExitCode.InvalidInput);
    }

    /// <summary>The held-out part of a corpus where it has one, else all of it.</summary>
    public static IEnumerable<TokenizedText> Texts(PreparedCorpus corpus) => corpus.Manifest.Validation.Tokens > 0
        ? Chunks(corpus.Manifest.Validation, corpus.ReadValidation)
        : Chunks(corpus.Manifest.Train, corpus.ReadTrain);

    private static IEnumerable<TokenizedText> Chunks(ManifestSplit split, Action<int, long, Span<int>> read)
    {
        for (var shard = 0; shard < split.Shards.Count; shard++)
        {
            var (tokens, bytes) = (split.Shards[shard].Tokens, split.Shards[shard].TextBytes);
            for (long offset = 0; offset < tokens; offset += ChunkTokens)
            {
                var chunk = new int[(int)Math.Min(ChunkTokens, tokens - offset)];
                read(shard, offset, chunk);
                yield return new TokenizedText(chunk, offset == 0 ? bytes : 0);
            }
        }
    }
}
