using Microsoft.Extensions.Logging;
using Sora.Model.Data;
using Sora.Model.Data.Preparation;
using Sora.Model.Tokenization;
using Sora.Protocol.Blocks;
using Sora.Protocol.Generations;
using Sora.Protocol.Jobs;

namespace Sora.Worker.Work;

/// <summary>
/// The corpus of an assignment: read where it lies if this machine has it, else fetched in pieces from the coordinator.
/// A folder is believed only if its manifest has the hash the assignment names.
/// </summary>
internal sealed partial class AssignedCorpus(WorkerOptions options, ICorpusSource source, string workFolder)
{
    private readonly ILogger _log = options.LoggerFactory.CreateLogger<AssignedCorpus>();

    public (IBatchSource Batches, ITokenizer Tokenizer) Open(WorkerAssignment assignment, TrainingJob job, CancellationToken cancellationToken)
    {
        if (OpenLocal(assignment) is { } corpus)
        {
            LogLocal(corpus.Folder);
            var tokenizer = TokenizerFiles.Load(corpus.Folder);
            return (BatchSources.Local(corpus, job), tokenizer);
        }
        var manifest = source.Manifest(assignment.CorpusHash, cancellationToken);
        if (CorpusManifest.HashOf(manifest.Span) != assignment.CorpusHash)
            throw new SoraException($"The manifest the coordinator sent does not have the hash {assignment.CorpusHash} of the assignment.", ExitCode.InvalidInput);
        var pieces = source.Pieces(assignment.CorpusHash);
        var cache = Path.Combine(options.CacheDir.Length > 0 ? options.CacheDir : CorpusCache.Root(new DataSettings()), "pieces");
        LogRemote(cache);
        var fetched = VerifiedPieces.FetchTokenizerAsync(manifest, pieces, Path.Combine(workFolder, "tokenizer"), cancellationToken).GetAwaiter().GetResult();
        return (BatchSources.Remote(manifest, job, pieces, cache, options.Time), fetched);
    }

    private PreparedCorpus? OpenLocal(WorkerAssignment assignment)
    {
        if (options.FetchCorpus || assignment.CorpusDir.Length == 0 || !PreparedCorpus.IsAt(assignment.CorpusDir))
            return null;
        var corpus = PreparedCorpus.Open(assignment.CorpusDir);
        if (corpus.Hash == assignment.CorpusHash)
            return corpus;
        LogOther(assignment.CorpusDir, corpus.Hash, assignment.CorpusHash);
        corpus.Dispose();
        return null;
    }

    [LoggerMessage(2200, LogLevel.Information, "Reads the corpus in {Folder}")]
    private partial void LogLocal(string folder);

    [LoggerMessage(2201, LogLevel.Information, "Fetches the corpus from the coordinator and keeps its pieces in {Cache}")]
    private partial void LogRemote(string cache);

    [LoggerMessage(2202, LogLevel.Warning, "{Folder} holds the corpus {Found}, the run reads {Expected}: it is fetched from the coordinator")]
    private partial void LogOther(string folder, string found, string expected);
}
