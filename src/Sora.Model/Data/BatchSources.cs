using Sora.Protocol.Blocks;
using Sora.Protocol.Jobs;

namespace Sora.Model.Data;

/// <summary>Makes batch sources. Local and remote ones of the same corpus and job give the same tokens.</summary>
public static class BatchSources
{
    /// <summary>Reads a corpus on this machine (or in a shared folder). The source owns the corpus from now on.</summary>
    public static PlannedBatches Local(PreparedCorpus corpus, TrainingJob job) => new(new LocalTokenReader(corpus), corpus.Manifest, job);

    /// <summary>Fetches the pieces that the announced lanes need and keeps them on disk, at most <see cref="DataSettings.BlockCacheBytes"/>.</summary>
    /// <param name="manifest">The corpus manifest, as <see cref="IPieceSource.Manifest"/> gives it.</param>
    /// <param name="job">The job.</param>
    /// <param name="fetcher">Asks the coordinator.</param>
    /// <param name="cacheFolder">Where pieces are kept; several processes and runs may share it.</param>
    /// <param name="time">The clock; null: the system's.</param>
    public static PlannedBatches Remote(ReadOnlyMemory<byte> manifest, TrainingJob job, IPieceFetcher fetcher, string cacheFolder, TimeProvider? time = null)
    {
        time ??= TimeProvider.System;
        var parsed = CorpusManifest.Parse(manifest.Span, "The manifest the coordinator sent");
        var cache = new PieceCache(cacheFolder, job.Data.BlockCacheBytes, time);
        return new(new PieceTokenReader(parsed, new PieceStore(fetcher, cache, time)), parsed, job);
    }
}
