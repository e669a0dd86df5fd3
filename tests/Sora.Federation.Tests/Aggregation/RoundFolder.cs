using Sora.Federation.Aggregation;
using Sora.Federation.Aggregation.Strategies;
using Sora.Federation.Aggregation.Updates;

namespace Sora.Federation.Tests.Aggregation;

/// <summary>A folder of a test's own, with a place for the sites' files and one for the server's.</summary>
internal sealed class RoundFolder : IDisposable
{
    private readonly string _root = Directory.CreateTempSubdirectory("sora-round-").FullName;

    public RoundFolder() => Directory.CreateDirectory(Sites);

    public string Server => Path.Combine(_root, "server");

    public string Sites => Path.Combine(_root, "sites");

    public EncodedUpdate Encode(string site, float[] values, double weight = 1, long round = 0, UpdateEncoding encoding = UpdateEncoding.Float32, int chunkBytes = 512) =>
        EncodedUpdate.Create(Path.Combine(Sites, site + "." + Guid.NewGuid().ToString("N")), site, round, weight, values, encoding, chunkBytes: chunkBytes);

    public void Dispose() => Directory.Delete(_root, recursive: true);
}

internal static class RoundTesting
{
    public static RoundTerms Terms(long round, params IEnumerable<string> sites) => new(round, sites.ToHashSet());

    public static Receipt Send(this AggregationRound round, EncodedUpdate update, int chunk) =>
        round.Accept(update.Manifest.Site, update.Manifest.Round, chunk, update.Manifest.ChunkOffset(chunk), update.ReadChunk(chunk));

    public static Receipt Send(this UpdateInbox inbox, EncodedUpdate update, int chunk) =>
        inbox.Accept(update.Manifest.Site, update.Manifest.Round, chunk, update.Manifest.ChunkOffset(chunk), update.ReadChunk(chunk));

    public static Receipt SendAll(this AggregationRound round, EncodedUpdate update)
    {
        var receipt = round.Announce(update.Manifest);
        for (var chunk = 0; chunk < update.Manifest.Chunks && receipt.Kind == ReceiptKind.Accepted; chunk++)
            receipt = round.Send(update, chunk);
        if (receipt.Kind == ReceiptKind.Whole)
            round.Admit(update.Manifest.Site);
        return receipt;
    }

    public static byte[] Bytes(this ServerModel model)
    {
        var stream = new MemoryStream();
        model.Write(stream);
        return stream.ToArray();
    }

    /// <summary>Numbers of about the size of real changes of weights.</summary>
    public static float[] Values(int seed, int count, double size = 0.01)
    {
        var random = new Random(seed);
        return [.. Enumerable.Range(0, count).Select(_ => (float)((random.NextDouble() * 2 - 1) * size))];
    }

    /// <summary>Rounds of one strategy over updates in memory, from the optimizer's beginning.</summary>
    public static ServerModel Run(ServerStrategy strategy, float[] weights, params IEnumerable<MemoryUpdate[]> rounds)
    {
        var model = strategy.Optimizer.Begin(weights);
        foreach (var updates in rounds)
            model = RoundArithmetic.Aggregate(strategy, model, model.Round, updates).Model;
        return model;
    }
}
