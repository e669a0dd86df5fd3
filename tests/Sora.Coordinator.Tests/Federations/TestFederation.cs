using System.Runtime.InteropServices;
using System.Security.Cryptography;
using Sora.Coordinator.Federations;
using Sora.Federation.Aggregation.Updates;
using Sora.Federation.Identity;
using Sora.Federation.Rounds;
using Sora.Protocol.Runs;

namespace Sora.Coordinator.Tests.Federations;

/// <summary>A federated run of a few hundred numbers, its folder, and sites with registered keys that "train" by a formula.</summary>
internal sealed class TestFederation : IDisposable
{
    public const int Parameters = 600;
    private const int ChunkBytes = 1000;

    private readonly Dictionary<string, IdentityKey> _keys = new(StringComparer.Ordinal);
    private readonly string _admissions;
    private readonly Func<string> _address;
    private readonly TestCoordinator? _coordinator;

    public TestFederation(TestCoordinator coordinator, FederationSettings? settings = null)
        : this(coordinator.Folder, () => coordinator.Host.Address, settings) => _coordinator = coordinator;

    /// <param name="folder">Of the coordinators' state.</param>
    /// <param name="address">The coordinator that a site dials next.</param>
    /// <param name="settings">The run's.</param>
    public TestFederation(string folder, Func<string> address, FederationSettings? settings = null)
    {
        const string run = "fed-test";
        _address = address;
        _admissions = Path.Combine(folder, "sites.json");
        Output = Path.Combine(folder, "output", run);
        Initial = [.. Enumerable.Range(0, Parameters).Select(i => MathF.Sin(i))];
        var bytes = MemoryMarshal.AsBytes(Initial.AsSpan()).ToArray();
        Directory.CreateDirectory(Path.Combine(Output, "federation", "models"));
        File.WriteAllBytes(ModelPath(0), bytes);
        Submission = new FederationSubmission
        {
            Run = new FederatedRun(run, 7, new ModelVersion(0, Convert.ToHexStringLower(SHA256.HashData(bytes))), new ChunkLayout(Parameters, ChunkBytes / 4), settings ?? Settings()),
            JobJson = """{"name":"test"}""",
            OutputDir = Output,
        };
    }

    /// <summary>The only coordinator.</summary>
    public TestCoordinator Coordinator => _coordinator!;

    public string Output { get; }

    public float[] Initial { get; }

    public FederationSubmission Submission { get; }

    public static FederationSettings Settings(int rounds = 3, int sites = 3) => new()
    {
        Rounds = rounds,
        MinAvailableSites = sites,
        RoundDeadline = 60,
        EvalRounds = 0,
    };

    public string ModelPath(int number) => Path.Combine(Output, "federation", "models", $"{number}.f32");

    public float[] Model(int number) => MemoryMarshal.Cast<byte, float>(File.ReadAllBytes(ModelPath(number))).ToArray();

    /// <summary>The key of a site, registered the first time it is asked for.</summary>
    public IdentityKey KeyOf(string site)
    {
        if (_keys.TryGetValue(site, out var known))
            return known;
        var key = IdentityKey.Create();
        AdmissionFile.Change(_admissions, list => list.Register(new NamedPublicKey(site, key.Public), DateTimeOffset.UtcNow, "test"));
        return _keys[site] = key;
    }

    /// <summary>Revokes a site's key.</summary>
    public void Revoke(string site) => AdmissionFile.Change(_admissions, list => list.Revoke(site, "lost", DateTimeOffset.UtcNow, "test"));

    public async Task<FakeSite> JoinAsync(string site, RoundKey? workingOn = null)
    {
        var stream = await FakeSite.DialAsync(_address(), KeyOf(site), Submission.Run.Run);
        await stream.JoinAsync(workingOn);
        return stream;
    }

    /// <summary>How many examples a site has.</summary>
    public static double WeightOf(string site) => 10 * site[^1];

    /// <summary>What a site makes of a model: something of its own that depends on every parameter and on the round.</summary>
    public static float[] Train(string site, int round, float[] model) =>
        [.. model.Select((value, i) => (float)(0.1 * (site[^1] - 'a' + 1) * Math.Cos(i * round) - 0.01 * value))];

    public static EncodedUpdate Encode(string site, int round, float[] update) =>
        EncodedUpdate.Create(Path.Combine(Directory.CreateTempSubdirectory("sora-update-").FullName, "update"), site, round, WeightOf(site), update, chunkBytes: ChunkBytes);

    public static UpdateOffer OfferOf(EncodedUpdate update, RoundKey key) =>
        new(new UpdateId(key, update.Manifest.Site, Convert.ToHexStringLower(update.Manifest.Hash.Span)), update.Manifest.Bytes, update.Manifest.Weight, Loss: 1.0 / key.Round);

    /// <summary>The weighted mean of what the sites make of a model, added to it: what FedAvg is.</summary>
    public static float[] Average(float[] model, int round, params string[] sites) =>
        [.. model.Select((value, i) => (float)(value + sites.Sum(site => WeightOf(site) * Train(site, round, model)[i]) / sites.Sum(WeightOf)))];

    /// <summary>Waits for the end of a run and for its sites; one of them that fails is told at once.</summary>
    public static async Task<List<RunEvent>> ToEndAsync(RunHandle run, params Task<Dismissed>[] sites)
    {
        var events = TestCoordinator.ToEndAsync(run);
        for (var open = sites.Append<Task>(events).ToList(); open.Count > 0;)
        {
            var done = await Task.WhenAny(open);
            await done;
            open.Remove(done);
        }
        return await events;
    }

    /// <summary>Takes part from stream to stream, as a site's process does, until it is sent home.</summary>
    public async Task<Dismissed> TakePartAsync(string site, CancellationToken cancellationToken)
    {
        var ready = new Dictionary<RoundKey, EncodedUpdate>();
        while (true)
        {
            cancellationToken.ThrowIfCancellationRequested();
            if (await TryStreamAsync(site, ready) is { } dismissed)
                return dismissed;
            await Task.Delay(20, cancellationToken);
        }
    }

    public void Dispose()
    {
        foreach (var key in _keys.Values)
            key.Dispose();
    }

    private async Task<Dismissed?> TryStreamAsync(string site, Dictionary<RoundKey, EncodedUpdate> ready)
    {
        try
        {
            await using var stream = await JoinAsync(site, ready.Count > 0 ? ready.Keys.Max() : null);
            while (await stream.TryHearWordAsync() is { } word)
            {
                switch (word)
                {
                    case RoundAnnounced announced:
                        if (!ready.TryGetValue(announced.Round, out var update))
                        {
                            await stream.SayAsync(new RoundAccepted(stream.Run, announced.Round));
                            update = ready[announced.Round] = Encode(site, announced.Round.Round, Train(site, announced.Round.Round, await stream.FetchAsync(announced.Model)));
                        }
                        await stream.SayAsync(new UpdateOffered(stream.Run, OfferOf(update, announced.Round)));
                        break;
                    case UploadFrom upload:
                        await stream.SendAsync(ready[upload.Id.Round], upload.NextChunk);
                        break;
                    case EvaluateModel evaluate:
                        var model = await stream.FetchAsync(evaluate.Model);
                        await stream.SayAsync(new ModelEvaluated(stream.Run, evaluate.Model.Number, model.Average(value => Math.Abs(value)), WeightOf(site)));
                        break;
                    case Dismissed dismissed:
                        return dismissed;
                }
            }
        }
        catch (Exception broken) when (broken is Grpc.Core.RpcException or IOException or OperationCanceledException or InvalidOperationException or ObjectDisposedException or Xunit.Sdk.TrueException)
        {
            // The coordinator is gone; dial again.
        }
        return null;
    }
}
