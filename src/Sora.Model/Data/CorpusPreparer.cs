using Sora.Model.Data.Preparation;
using Sora.Model.Data.Sources;
using Sora.Model.Tokenization;
using Sora.Protocol.Jobs;

namespace Sora.Model.Data;

/// <summary>
/// Turns text into a folder of token shards: on all cores, streaming, in memory that does not depend on the size of the corpus, and
/// to the same bytes whatever the number of threads. The folder appears whole or not at all.
/// </summary>
public sealed class CorpusPreparer
{
    private const int PieceBytes = 128 << 10;

    /// <summary>Threads that encode.</summary>
    public int Threads { get; init; } = Environment.ProcessorCount;

    /// <summary>A shard is closed after the document which brings it to so many tokens.</summary>
    public long ShardTokens { get; init; } = 1L << 27;

    /// <summary>Prepares a corpus and opens it.</summary>
    /// <param name="data">What to read.</param>
    /// <param name="tokenizer">How text becomes tokens.</param>
    /// <param name="folder">Where to put it: a folder that does not exist yet, or an empty one.</param>
    /// <param name="progress">Told how far it is, from several threads.</param>
    /// <param name="cancellationToken">Stops it and removes what was written.</param>
    /// <exception cref="SoraException">An input or the output folder cannot be used; the message says why.</exception>
    public async Task<PreparedCorpus> PrepareAsync(
        DataSettings data, TokenizerSettings tokenizer, string folder, IProgress<PrepareProgress>? progress = null, CancellationToken cancellationToken = default)
    {
        folder = Path.TrimEndingDirectorySeparator(Path.GetFullPath(folder));
        CheckIsFree(folder);
        progress?.Report(new(PreparePhase.Finding));
        using var downloads = new Downloads(CorpusCache.Root(data));
        var inputs = await InputList.FindAsync(data, downloads, progress, cancellationToken);
        using var claim = FolderClaim.TryTake(folder)
            ?? throw new SoraException($"Another run is preparing {folder}. Wait for it, or choose another folder.", ExitCode.Usage);
        return await PrepareAsync(data, tokenizer, inputs, folder, claim, progress, cancellationToken);
    }

    /// <summary>The tokenizer alone that a preparation of these inputs would use, trained on them where it is of that kind.</summary>
    /// <param name="data">What to read.</param>
    /// <param name="tokenizer">Which tokenizer.</param>
    /// <param name="progress">Told how far it is.</param>
    /// <param name="cancellationToken">Stops it.</param>
    /// <exception cref="SoraException">An input or a tokenizer file cannot be used; the message says why.</exception>
    public static async Task<ITokenizer> CreateTokenizerAsync(
        DataSettings data, TokenizerSettings tokenizer, IProgress<PrepareProgress>? progress = null, CancellationToken cancellationToken = default)
    {
        progress?.Report(new(PreparePhase.Finding));
        using var downloads = new Downloads(CorpusCache.Root(data));
        var inputs = await InputList.FindAsync(data, downloads, progress, cancellationToken);
        return await CreateTokenizerAsync(tokenizer, inputs, progress, cancellationToken);
    }

    private static async Task<ITokenizer> CreateTokenizerAsync(
        TokenizerSettings settings, IReadOnlyList<CorpusInput> inputs, IProgress<PrepareProgress>? progress, CancellationToken cancellationToken)
    {
        if (settings.Type == TokenizerKind.Bpe) progress?.Report(new(PreparePhase.TrainingTokenizer));
        var tokenizer = await Task.Run(() => TokenizerFiles.Create(settings, () => TrainingText.Read(inputs, cancellationToken), cancellationToken), cancellationToken);
        if (settings.Type == TokenizerKind.Bpe && tokenizer.VocabSize < settings.VocabSize)
            progress?.Report(new(PreparePhase.TrainingTokenizer, Message:
                $"The vocabulary has {tokenizer.VocabSize} entries and not the {settings.VocabSize} asked for, because no other pair occurs twice in this text. " +
                "Give more text, or ask for fewer."));
        return tokenizer;
    }

    internal async Task<PreparedCorpus> PrepareAsync(
        DataSettings data, TokenizerSettings tokenizer, IReadOnlyList<CorpusInput> inputs, string folder, FolderClaim claim,
        IProgress<PrepareProgress>? progress, CancellationToken cancellationToken)
    {
        claim.RemoveLeftovers(progress);
        var temporary = claim.UnfinishedName();
        try
        {
            Directory.CreateDirectory(temporary);
            await WriteAsync(data, tokenizer, inputs, temporary, progress, cancellationToken);
            if (Directory.Exists(folder)) Directory.Delete(folder); // empty: CheckIsFree has looked
            Directory.Move(temporary, folder);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw DiskErrors.Explained(folder, e); // the inputs explain their own
        }
        finally
        {
            if (Directory.Exists(temporary)) Directory.Delete(temporary, recursive: true);
        }
        var corpus = PreparedCorpus.Open(folder);
        progress?.Report(new(PreparePhase.Done, Documents: corpus.Manifest.Train.Documents + corpus.Manifest.Validation.Documents,
            Tokens: corpus.Manifest.Train.Tokens + corpus.Manifest.Validation.Tokens));
        return corpus;
    }

    private async Task WriteAsync(
        DataSettings data, TokenizerSettings settings, IReadOnlyList<CorpusInput> inputs, string folder,
        IProgress<PrepareProgress>? progress, CancellationToken cancellationToken)
    {
        var tokenizer = await CreateTokenizerAsync(settings, inputs, progress, cancellationToken);
        tokenizer.Save(folder);
        var tokenizerFiles = Directory.GetFiles(folder).Order(StringComparer.Ordinal).ToList();

        var tokenBytes = tokenizer.VocabSize <= 1 << 16 ? sizeof(ushort) : sizeof(uint);
        using var writer = new CorpusWriter(folder, tokenizer, tokenBytes, data.ValidationSplit, ShardTokens);
        var (read, total) = (0L, inputs.Sum(input => input.Bytes));
        await foreach (var batch in new EncodingPipeline(tokenizer, tokenBytes, Threads).RunAsync(inputs, cancellationToken))
        {
            using (batch) writer.Write(batch);
            read += batch.InputBytes;
            progress?.Report(new(PreparePhase.Encoding, read, total, writer.Documents, writer.Tokens));
        }
        if (!writer.HasText)
            throw new SoraException($"There is no text in {string.Join(", ", data.Train)}. Name other files.", ExitCode.InvalidInput);
        writer.Finish();

        var shards = writer.Train.Concat(writer.Validation).SelectMany(shard => new[] { shard.TokensPath, shard.IndexPath });
        var files = FileHashes.Hash([.. tokenizerFiles, .. shards], PieceBytes, Threads, progress, cancellationToken);
        var manifest = new CorpusManifest
        {
            FormatVersion = CorpusManifest.CurrentFormatVersion,
            Dtype = tokenBytes == sizeof(ushort) ? "uint16" : "uint32",
            PieceBytes = PieceBytes,
            Tokenizer = new(tokenizer.Kind, tokenizer.VocabSize, tokenizer.EndOfText, [.. tokenizerFiles.Select(path => files[Path.GetFileName(path)])]),
            Train = Split(writer.Train, files),
            Validation = Split(writer.Validation, files),
            ValidationSplit = data.ValidationSplit,
            Sources = [.. data.Train.Select(InputList.PublicName)],
        };
        await using var file = new FileStream(Path.Combine(folder, CorpusManifest.FileName), FileMode.CreateNew);
        await file.WriteAsync(manifest.ToUtf8(), cancellationToken);
        file.Flush(flushToDisk: true);
    }

    private static ManifestSplit Split(IReadOnlyList<ShardWriter> shards, IReadOnlyDictionary<string, ManifestFile> files) => new(
        shards.Sum(shard => shard.Documents), shards.Sum(shard => shard.Tokens), shards.Sum(shard => shard.TextBytes),
        [
            .. shards.Select(shard => new ManifestShard(
                shard.Documents, shard.Tokens, shard.TextBytes, files[Path.GetFileName(shard.TokensPath)], files[Path.GetFileName(shard.IndexPath)])),
        ]);

    private static void CheckIsFree(string folder)
    {
        if (File.Exists(folder) || (Directory.Exists(folder) && Directory.EnumerateFileSystemEntries(folder).Any()))
            throw new SoraException($"{folder} exists already and is not empty. Remove it or choose another folder.", ExitCode.Usage);
    }
}
