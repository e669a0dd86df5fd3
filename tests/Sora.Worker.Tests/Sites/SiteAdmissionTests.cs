using Google.Protobuf;
using Sora.Federation.Identity;
using Sora.Federation.Rounds;
using Sora.Protocol.Api;
using Sora.Protocol.Jobs;

namespace Sora.Worker.Tests.Sites;

[Collection(SiteCollection.Name)]
public class SiteAdmissionTests
{
    [Fact]
    public async Task A_coordinator_the_policy_does_not_name_gets_no_proof_and_the_next_one_is_dialled()
    {
        await using var stranger = await FederationServer.StartAsync();
        await using var server = await FederationServer.StartAsync();
        await using var site = new TestSite(stranger, server);
        site.WritePolicy(coordinators: $"\"{server.Key.Public.Fingerprint}\"");
        site.Start();
        var lost = await stranger.AcceptAsync();
        await lost.ChallengeAsync("fed-1");
        Assert.Null(await lost.NextAsync());
        var hello = await (await server.AcceptAsync()).LetInAsync(TestRun.Of(), site.Key.Public);

        Assert.Equal("", hello.Unfit);
        Assert.All(stranger.Received.OfType<FromWorker>(), message => Assert.True(message.BodyCase is FromWorker.BodyOneofCase.SiteIntroduction or FromWorker.BodyOneofCase.Heartbeat));
        Assert.Contains("is not among the 'coordinators' of this site's policy", File.ReadAllText(site.AuditPath));
    }

    [Fact]
    public async Task A_coordinator_that_only_shows_a_key_it_has_not_gets_no_proof()
    {
        await using var server = await FederationServer.StartAsync();
        await using var site = new TestSite(server);
        using var thief = IdentityKey.Create();
        site.Start();
        var stream = await server.AcceptAsync();
        await stream.ChallengeAsync("fed-1", thief);

        Assert.Null(await stream.NextAsync());
        Assert.DoesNotContain(server.Received.OfType<FromWorker>(), message => message.BodyCase == FromWorker.BodyOneofCase.SiteProof);
    }

    [Fact]
    public async Task A_coordinator_that_cannot_serve_the_run_sends_the_site_to_the_next()
    {
        await using var other = await FederationServer.StartAsync();
        await using var server = await FederationServer.StartAsync();
        await using var site = new TestSite(other, server);
        site.Start();
        var away = await other.AcceptAsync();
        await away.NextAsync();
        away.Say(new FromCoordinator { Refused = new Refused { Reason = "another coordinator has the run", ExitCode = ExitCode.Unreachable } });
        away.Close();

        await (await server.AcceptAsync()).LetInAsync(TestRun.Of(), site.Key.Public);
    }

    [Fact]
    public async Task A_refusal_for_good_ends_the_site_with_its_reason()
    {
        await using var server = await FederationServer.StartAsync();
        await using var site = new TestSite(server);
        site.Start();
        var stream = await server.AcceptAsync();
        await stream.NextAsync();
        stream.Say(new FromCoordinator { Refused = new Refused { Reason = "the key is not registered", ExitCode = ExitCode.Usage } });

        Assert.Equal(ExitCode.Usage, await site.EndAsync());
        Assert.Contains("the key is not registered", site.Log.Text);
    }

    [Theory]
    [InlineData("content")]
    [InlineData("order")]
    [InlineData("signature")]
    [InlineData("run")]
    public async Task A_word_that_is_not_good_is_not_followed_and_ends_the_stream(string fault)
    {
        await using var server = await FederationServer.StartAsync();
        await using var site = new TestSite(server);
        var run = TestRun.Of();
        site.Start();
        var stream = await server.AcceptAsync();
        await stream.LetInAsync(run, site.Key.Public);
        var announced = run.Round(server.Publish(0, new float[TestRun.Parameters]));
        var word = stream.Sign(fault == "run" ? announced with { Run = "fed-2" } : announced);
        switch (fault)
        {
            case "content": word.Content = stream.Sign(announced with { LocalEpochs = 1000 }).Content; break;
            case "order": word.Sequence++; break;
            case "signature": word.Signature = ByteString.CopyFrom(new byte[64]); break;
        }
        stream.Say(new FromCoordinator { SiteWord = word });

        Assert.Null(await stream.WordAsync());
        Assert.Equal(0, site.Training.Trainings);
        await (await server.AcceptAsync()).LetInAsync(run, site.Key.Public);
    }

    [Fact]
    public async Task Words_before_the_admission_end_the_stream()
    {
        await using var server = await FederationServer.StartAsync();
        await using var site = new TestSite(server);
        site.Start();
        var stream = await server.AcceptAsync();
        await stream.NextAsync();
        stream.Say(new FromCoordinator { SiteAdmission = new SiteAdmission { Run = "fed-1", Site = "hospital-a" } });

        Assert.Null(await stream.NextAsync());
        await (await server.AcceptAsync()).LetInAsync(TestRun.Of(), site.Key.Public);
    }

    [Fact]
    public async Task A_restarted_site_asks_for_the_run_it_has_not_left_and_for_no_other()
    {
        await using var server = await FederationServer.StartAsync();
        await using var site = new TestSite(server);
        site.Start();
        await (await server.AcceptAsync()).LetInAsync(TestRun.Of(), site.Key.Public);
        await site.RestartAsync();
        var stream = await server.AcceptAsync();
        var (introduction, _) = await stream.ChallengeAsync("fed-2");
        Assert.Equal("fed-1", introduction.Run);
        Assert.Null(await stream.NextAsync());
        var again = await server.AcceptAsync();
        await again.LetInAsync(TestRun.Of(), site.Key.Public);
        again.Say(new Dismissed("fed-1", "the run is finished", ExitCode.Ok));
        Assert.Equal(ExitCode.Ok, await site.EndAsync());
        site.Start();

        Assert.Equal("", (await (await server.AcceptAsync()).NextAsync())!.SiteIntroduction.Run);
    }
}
