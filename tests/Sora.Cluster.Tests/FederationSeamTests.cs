using System.Runtime.InteropServices;
using System.Security.Cryptography;
using Sora.Coordinator;
using Sora.Coordinator.Federations;
using Sora.Federation.Identity;
using Sora.Federation.Policies;
using Sora.Federation.Rounds;
using Sora.Protocol.Jobs;
using Sora.Protocol.Runs;
using Sora.Worker.Sites;

namespace Sora.Cluster.Tests;

/// <summary>A coordinator and sites as they really are, but for the training: a formula takes its place.</summary>
public sealed class FederationSeamTests
{
    private const int Parameters = 1000;

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    [Theory]
    [InlineData(UpdateQuantization.Fp32, false)]
    [InlineData(UpdateQuantization.Int8, false)]
    [InlineData(UpdateQuantization.Fp32, true)]
    public async Task Sites_and_coordinator_make_the_mean_of_what_the_sites_trained_also_when_the_coordinator_dies(UpdateQuantization quantization, bool dies)
    {
        var folder = Directory.CreateTempSubdirectory("sora-seam-").FullName;
        var options = new CoordinatorOptions { StateDir = folder, AbsenceLimit = TimeSpan.FromSeconds(30) };
        var host = await CoordinatorHost.StartAsync(options, Cancel);
        var output = Path.Combine(folder, "output");
        var initial = Enumerable.Range(0, Parameters).Select(i => MathF.Sin(i)).ToArray();
        var run = new FederatedRun("fed-seam", 7, Write(output, initial), new ChunkLayout(Parameters, 256), new FederationSettings { Rounds = 3, MinAvailableSites = 2, RoundDeadline = 60, Quantization = quantization });
        await host.SubmitAsync(new FederationSubmission { Run = run, JobJson = JobJson.Write(new TrainingJob { Name = "seam" }), OutputDir = output });

        var sites = new[] { 1, 2 }.Select(number => SiteProcess.RunAsync(Site(folder, host, number), new Formula(number), Cancel)).ToArray();
        if (dies)
        {
            while (!File.Exists(Path.Combine(output, "federation", "models", "1.f32")))
                await Task.Delay(5, Cancel);
            await host.CrashAsync();
            host = await CoordinatorHost.StartAsync(options with { ListenUrl = host.Address, Token = host.Token }, Cancel);
        }
        Assert.All(await Task.WhenAll(sites).WaitAsync(TimeSpan.FromSeconds(90), Cancel), code => Assert.Equal(ExitCode.Ok, code));
        var events = new List<RunEvent>();
        await foreach (var happened in await host.WatchAsync("fed-seam"))
            events.Add(happened);
        await host.DisposeAsync();

        var expected = initial.Select(value => (double)value).ToArray();
        for (var round = 1; round <= 3; round++)
            expected = [.. expected.Select((value, i) => value + (100 * Formula.Change(1, i, round) + 200 * Formula.Change(2, i, round)) / 300)];
        var actual = MemoryMarshal.Cast<byte, float>(File.ReadAllBytes(Path.Combine(output, "federation", "models", "3.f32"))).ToArray();
        for (var i = 0; i < Parameters; i++)
            Assert.Equal(expected[i], actual[i], quantization == UpdateQuantization.Fp32 ? 1e-6 : 0.02);
        Assert.Equal([1, 2, 3], events.OfType<RoundCommitted>().Select(committed => committed.Round));
        Assert.NotNull(Assert.IsType<FederationFinished>(events[^1]).EvalLoss);
        Directory.Delete(folder, recursive: true);
    }

    private static ModelVersion Write(string output, float[] model)
    {
        var bytes = MemoryMarshal.AsBytes(model.AsSpan()).ToArray();
        Directory.CreateDirectory(Path.Combine(output, "federation", "models"));
        File.WriteAllBytes(Path.Combine(output, "federation", "models", "0.f32"), bytes);
        return new ModelVersion(0, Convert.ToHexStringLower(SHA256.HashData(bytes)));
    }

    private static SiteOptions Site(string folder, CoordinatorHost host, int number)
    {
        var (name, key) = ($"site-{number}", Path.Combine(folder, $"site-{number}.key"));
        KeyFiles.Write(key, IdentityKey.Create(), name);
        AdmissionFile.Change(Path.Combine(folder, "sites.json"), list => list.Register(KeyFiles.ReadPublic(KeyFiles.PublicPathOf(key)), DateTimeOffset.UtcNow, "test"));
        var policy = Path.Combine(folder, $"{name}.yaml");
        File.WriteAllText(policy, $$"""
            jobs: [seam]
            coordinators: ["{{host.Fingerprint}}"]
            data_sets: [numbers]
            messages: [join, leave, heartbeat, refusal, update, metrics]
            privacy: {required: false, require_clipping: false}
            updates: {adapters_only: false, max_rounds: 100}
            secure_aggregation: {required: false}
            metrics: {allowed: [loss], max_digits: 3, min_examples: 10}
            """);
        return new SiteOptions
        {
            Coordinators = [new Uri(host.Address)],
            PolicyFile = policy,
            IdentityFile = key,
            StateDir = Path.Combine(folder, name),
            Data = [new SiteDataSet("numbers", folder)],
        };
    }

    private sealed class Formula(int site) : ILocalTrainingSource, ILocalTraining
    {
        public long Examples => 100 * site;

        public long HeldOutExamples => 50;

        public static double Change(int site, int parameter, int round) => 0.1 * site * Math.Cos(parameter * round);

        public LocalPlan Plan(SiteAssignment assignment, IReadOnlyList<SiteDataSet> data) => new(data, UpdateContent.Full);

        public ILocalTraining Open(SiteAssignment assignment, LocalPlan plan) => this;

        public LocalUpdate Train(RoundAnnounced round, ReadOnlySpan<float> parameters, FederationSettings settings, CancellationToken cancellationToken) =>
            new([.. Enumerable.Range(0, parameters.Length).Select(i => (float)Change(site, i, round.Round.Round))], Examples, 1.0 / round.Round.Round);

        public LocalEvaluation Evaluate(ReadOnlySpan<float> parameters, CancellationToken cancellationToken) => new(Math.Abs(parameters[0]), HeldOutExamples);

        public void Dispose()
        {
        }
    }
}
