using Sora.Federation.Aggregation.Updates;
using Sora.Federation.Audit;
using Sora.Federation.Rounds;
using Sora.Protocol.Api;
using Sora.Protocol.Jobs;
using Sora.Worker.Sites;

namespace Sora.Worker.Tests.Sites;

[Collection(SiteCollection.Name)]
public class SiteRoundTests
{
    private static readonly float[] Model = [.. Enumerable.Range(0, TestRun.Parameters).Select(i => i / 10f)];

    [Fact]
    public async Task Rounds_go_through_and_the_run_ends_with_the_coordinators_word()
    {
        await using var server = await FederationServer.StartAsync();
        await using var site = new TestSite(server);
        var run = TestRun.Of();
        site.Start();
        var stream = await server.AcceptAsync();
        var hello = await stream.LetInAsync(run, site.Key.Public);
        Assert.Equal((TestSite.Name, "", null), (hello.Site, hello.Unfit, hello.WorkingOn));

        var model = server.Publish(0, Model);
        for (var round = 1; round <= 2; round++)
        {
            stream.Say(run.Round(model, round));
            await stream.HearAsync<RoundAccepted>();
            var offer = await Deliver(stream);
            Assert.Equal((500.0, 2.3), (offer.Weight, offer.Loss));
            Assert.Equal([.. Model.Select(value => (value + round - 1) * 0.5f + round + round * 0.25f)], Decode(server, offer.Id.Sha256));
            stream.Say(new UpdateAcknowledged(run.Run.Run, offer.Id));
            model = server.Publish(round, [.. Model.Select(value => value + round)]);
            stream.Say(new EvaluateModel(run.Run.Run, model));
            var evaluated = await stream.HearAsync<ModelEvaluated>();
            Assert.Equal((round, (double)round, 200.0), (evaluated.Version, evaluated.Loss, evaluated.Examples));
        }
        stream.Say(new Dismissed(run.Run.Run, "the run is finished", ExitCode.Ok));

        Assert.Equal(ExitCode.Ok, await site.EndAsync());
        Assert.Equal(["journal", "run.json"], Directory.EnumerateFileSystemEntries(Path.Combine(site.State, "runs", run.Run.Run)).Select(Path.GetFileName).Order());
        using var log = File.OpenRead(site.AuditPath);
        Assert.Empty(AuditVerifier.Read(log, new AuditExpectations(Key: site.Key.Public)).Problems);
    }

    [Theory]
    [InlineData(UpdateQuantization.Fp16)]
    [InlineData(UpdateQuantization.Int8)]
    public async Task Updates_travel_in_the_numbers_the_job_says(UpdateQuantization quantization)
    {
        await using var server = await FederationServer.StartAsync();
        await using var site = new TestSite(server);
        var run = TestRun.Of(new FederationSettings { Quantization = quantization });
        site.Start();
        var stream = await server.AcceptAsync();
        await stream.LetInAsync(run, site.Key.Public);
        stream.Say(run.Round(server.Publish(0, Model)));
        var offer = await Deliver(stream);

        Assert.Equal(run.Run.Chunks.Chunks, server.Manifests.Single().Chunks);
        Assert.All(Decode(server, offer.Id.Sha256).Zip(Expected(1)), pair => Assert.Equal(pair.Second, pair.First, 1.0f));
    }

    [Fact]
    public async Task A_broken_upload_goes_on_where_the_coordinator_says_with_the_same_bytes()
    {
        await using var server = await FederationServer.StartAsync();
        await using var site = new TestSite(server);
        var run = TestRun.Of();
        server.BreaksAfter = 2;
        site.Start();
        var stream = await server.AcceptAsync();
        await stream.LetInAsync(run, site.Key.Public);
        stream.Say(run.Round(server.Publish(0, Model)));
        var offer = (await stream.HearAsync<UpdateOffered>()).Offer;
        stream.Say(new UploadFrom(run.Run.Run, offer.Id, 0));
        await Until(() => server.Received.OfType<UpdateChunk>().Count() >= 3);
        server.BreaksAfter = int.MaxValue;
        stream.Close();
        var again = await server.AcceptAsync();
        var hello = await again.LetInAsync(run, site.Key.Public);
        var repeated = (await again.HearAsync<UpdateOffered>()).Offer;
        again.Say(new UploadFrom(run.Run.Run, repeated.Id, 2));
        await Until(() => server.Chunks.Count == 4);

        Assert.Equal(offer.Id.Round, hello.WorkingOn);
        Assert.Equal(offer, repeated);
        Assert.Equal([0, 1, 2, 3], server.Chunks.Select(chunk => chunk.Chunk));
        Assert.Equal(Expected(1), Decode(server, offer.Id.Sha256));
        Assert.Equal(1, site.Training.Trainings);
    }

    [Fact]
    public async Task A_round_that_is_over_stops_its_training_and_nothing_of_it_is_offered()
    {
        await using var server = await FederationServer.StartAsync();
        await using var site = new TestSite(server);
        var run = TestRun.Of();
        var stopped = new TaskCompletionSource();
        site.Training.WhileTraining = token =>
        {
            if (site.Training.Trainings > 1)
                return;
            token.WaitHandle.WaitOne();
            stopped.SetResult();
            token.ThrowIfCancellationRequested();
        };
        site.Start();
        var stream = await server.AcceptAsync();
        await stream.LetInAsync(run, site.Key.Public);
        stream.Say(run.Round(server.Publish(0, Model)));
        await stream.HearAsync<RoundAccepted>();
        await Until(() => site.Training.Trainings == 1);
        stream.Say(new RoundOver(run.Run.Run, new RoundKey(1, 1), "closed"));
        await stopped.Task.WaitAsync(Patience.Token);
        stream.Say(run.Round(server.Publish(1, Model), round: 2));
        var words = new List<FromSite>();
        do
        {
            words.Add((await stream.WordAsync())!);
        }
        while (words[^1] is not UpdateOffered);

        Assert.Equal([typeof(RoundAccepted), typeof(UpdateOffered)], words.Select(word => word.GetType()));
        Assert.Equal(2, ((UpdateOffered)words[^1]).Offer.Id.Round.Round);
    }

    [Fact]
    public async Task Training_that_fails_is_told_by_its_message_and_a_surprise_only_by_its_kind()
    {
        await using var server = await FederationServer.StartAsync();
        await using var site = new TestSite(server);
        var run = TestRun.Of();
        site.Training.WhileTraining = _ => throw (site.Training.Trainings == 1 ? new SoraException("The GPU is out of memory.", ExitCode.Failure) : new InvalidOperationException("patient 0815"));
        site.Start();
        var stream = await server.AcceptAsync();
        await stream.LetInAsync(run, site.Key.Public);
        stream.Say(run.Round(server.Publish(0, Model)));
        var first = await stream.HearAsync<RoundFailed>();
        stream.Say(run.Round(server.Publish(0, Model), attempt: 2));
        var second = await stream.HearAsync<RoundFailed>();

        Assert.Equal("The GPU is out of memory.", first.Reason);
        Assert.Equal("unexpected InvalidOperationException in local training", second.Reason);
    }

    [Fact]
    public async Task A_model_that_is_not_the_announced_one_is_not_trained_on()
    {
        await using var server = await FederationServer.StartAsync();
        await using var site = new TestSite(server);
        var run = TestRun.Of();
        site.Start();
        var stream = await server.AcceptAsync();
        await stream.LetInAsync(run, site.Key.Public);
        server.Publish(0, Model);
        stream.Say(run.Round(new ModelVersion(0, new string('a', 64))));
        var failed = await stream.HearAsync<RoundFailed>();

        Assert.Contains("its SHA-256 differs", failed.Reason);
        Assert.Equal(0, site.Training.Trainings);
    }

    [Fact]
    public async Task A_site_that_is_told_to_leave_delivers_what_it_has_begun()
    {
        await using var server = await FederationServer.StartAsync();
        await using var site = new TestSite(server);
        var run = TestRun.Of();
        site.Training.WhileTraining = _ => site.Drain();
        site.Start();
        var stream = await server.AcceptAsync();
        await stream.LetInAsync(run, site.Key.Public);
        stream.Say(run.Round(server.Publish(0, Model)));
        await stream.HearAsync<SiteDraining>();
        var offer = await Deliver(stream);
        stream.Say(new UpdateAcknowledged(run.Run.Run, offer.Id));

        Assert.Equal(ExitCode.Ok, await site.EndAsync());
        Assert.Equal(Expected(1), Decode(server, offer.Id.Sha256));
    }

    [Fact]
    public async Task A_site_without_work_leaves_at_once()
    {
        await using var server = await FederationServer.StartAsync();
        await using var site = new TestSite(server);
        site.Start();
        await (await server.AcceptAsync()).LetInAsync(TestRun.Of(), site.Key.Public);
        site.Drain();

        Assert.Equal(ExitCode.Ok, await site.EndAsync());
    }

    [Fact]
    public async Task A_run_whose_terms_were_changed_is_left()
    {
        await using var server = await FederationServer.StartAsync();
        await using var site = new TestSite(server);
        site.Start();
        var stream = await server.AcceptAsync();
        await stream.LetInAsync(TestRun.Of(new FederationSettings { LocalEpochs = 1 }), site.Key.Public);
        stream.Close();
        var again = await server.AcceptAsync();
        await Assert.ThrowsAsync<InvalidOperationException>(() => again.LetInAsync(TestRun.Of(new FederationSettings { LocalEpochs = 2 }), site.Key.Public));

        Assert.Equal(ExitCode.InvalidInput, await site.EndAsync());
        Assert.Contains("A run's terms never change", site.Log.Text);
    }

    [Fact]
    public async Task A_secure_round_is_refused_with_the_reason()
    {
        await using var server = await FederationServer.StartAsync();
        await using var site = new TestSite(server);
        var run = TestRun.Of(new FederationSettings { SecureAggregation = new SecureAggregationSettings(), MinAvailableSites = 3 });
        site.Start();
        var stream = await server.AcceptAsync();
        await stream.LetInAsync(run, site.Key.Public);
        stream.Say(run.Round(server.Publish(0, Model)) with { Secure = true });
        var refused = await stream.HearAsync<RoundRefused>();

        Assert.True(refused.ForJob);
        Assert.Contains("secure rounds", refused.Reason);
        Assert.Equal(0, site.Training.Trainings);
    }

    internal static async Task<UpdateOffer> Deliver(SiteStream stream)
    {
        var offered = await stream.HearAsync<UpdateOffered>();
        stream.Say(new UploadFrom(offered.Run, offered.Offer.Id, 0));
        await stream.StoredAsync();
        return offered.Offer;
    }

    internal static float[] Decode(FederationServer server, string sha256)
    {
        var manifest = server.Manifests.First(manifest => Convert.ToHexStringLower(manifest.Hash.Span) == sha256);
        var bytes = server.Chunks.Where(chunk => chunk.Update == sha256).GroupBy(chunk => chunk.Chunk).OrderBy(chunk => chunk.Key).SelectMany(chunk => chunk.Last().Content).ToArray();
        Assert.Equal(sha256, Convert.ToHexStringLower(System.Security.Cryptography.SHA256.HashData(bytes)));
        var values = new float[manifest.Parameters];
        UpdateCodec.Decode(manifest.Encoding, bytes, 0, values);
        return values;
    }

    internal static async Task Until(Func<bool> holds)
    {
        while (!holds())
            await Task.Delay(5, Patience.Token);
    }

    private static float[] Expected(int round) => [.. Model.Select(value => value * 0.5f + round + round * 0.25f)];
}
