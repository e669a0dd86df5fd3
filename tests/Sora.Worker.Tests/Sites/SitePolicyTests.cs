using System.Text;
using Google.Protobuf;
using Sora.Federation.Rounds;
using Sora.Federation.Wire;
using Sora.Protocol.Api;

namespace Sora.Worker.Tests.Sites;

[Collection(SiteCollection.Name)]
public class SitePolicyTests
{
    private static readonly float[] Model = new float[TestRun.Parameters];

    [Fact]
    public async Task A_job_the_policy_does_not_permit_is_told_so_with_rule_and_line_and_trains_nothing()
    {
        await using var server = await FederationServer.StartAsync();
        await using var site = new TestSite(server);
        var run = TestRun.Of(job: "brain-1");
        site.Start();
        var stream = await server.AcceptAsync();
        var hello = await stream.LetInAsync(run, site.Key.Public);
        stream.Say(run.Round(server.Publish(0, Model)));
        var refused = await stream.HearAsync<RoundRefused>();

        Assert.Contains("jobs (", hello.Unfit);
        Assert.Contains("policy.yaml:1", refused.Reason);
        Assert.Contains("asked brain-1, allowed chest-*", refused.Reason);
        Assert.True(refused.ForJob);
        Assert.Equal(0, site.Training.Opened);
        Assert.DoesNotContain(server.Received, message => message is UpdateChunk or ModelRequest);
        Assert.Contains("\"kind\":\"decided\"", File.ReadAllText(site.AuditPath));
    }

    [Theory]
    [InlineData("strategies: [fedprox]", "strategies")]
    [InlineData("opening_hours: {time_zone: UTC, open: [\"Mon 00:00-00:01\", \"Thu 00:00-00:01\"]}", "opening_hours.open")]
    public async Task Every_round_is_judged(string rule, string named)
    {
        await using var server = await FederationServer.StartAsync();
        await using var site = new TestSite(server);
        var run = TestRun.Of();
        site.Start();
        var stream = await server.AcceptAsync();
        await stream.LetInAsync(run, site.Key.Public);
        // Its owner changes the policy while the run goes on.
        site.WritePolicy(more: rule);
        stream.Say(run.Round(server.Publish(0, Model)));
        var refused = await stream.HearAsync<RoundRefused>();
        site.WritePolicy();
        stream.Say(run.Round(server.Publish(0, Model)));
        await stream.HearAsync<RoundAccepted>();

        Assert.Contains(named, refused.Reason);
        Assert.Equal(named != "opening_hours.open", refused.ForJob);
    }

    [Fact]
    public async Task More_local_work_than_the_job_said_is_judged_by_what_is_asked()
    {
        await using var server = await FederationServer.StartAsync();
        await using var site = new TestSite(server);
        File.WriteAllText(site.PolicyPath, File.ReadAllText(site.PolicyPath).Replace("max_rounds: 100", "max_rounds: 100, max_local_epochs: 2"));
        var run = TestRun.Of();
        site.Start();
        var stream = await server.AcceptAsync();
        await stream.LetInAsync(run, site.Key.Public);
        stream.Say(run.Round(server.Publish(0, Model)) with { LocalEpochs = 3 });

        Assert.Contains("updates.max_local_epochs", (await stream.HearAsync<RoundRefused>()).Reason);
    }

    [Fact]
    public async Task A_policy_that_is_not_sound_permits_nothing()
    {
        await using var server = await FederationServer.StartAsync();
        await using var site = new TestSite(server);
        site.Training.WhileTraining = _ => File.WriteAllText(site.PolicyPath, "jobs: [*");
        var run = TestRun.Of();
        site.Start();
        var stream = await server.AcceptAsync();
        await stream.LetInAsync(run, site.Key.Public);
        stream.Say(run.Round(server.Publish(0, Model)));
        var offer = await SiteRoundTests.Deliver(stream);
        stream.Say(new UpdateAcknowledged(run.Run.Run, offer.Id));
        stream.Say(run.Round(server.Publish(1, Model), round: 2));
        // Not even a refusal leaves.
        await SiteRoundTests.Until(() => site.Log.Text.Contains("does not let RoundRefused leave"));

        Assert.Equal(1, site.Training.Trainings);
    }

    [Fact]
    public async Task A_slip_in_the_policy_breaks_the_stream_off_until_it_is_mended()
    {
        await using var server = await FederationServer.StartAsync();
        await using var site = new TestSite(server);
        var run = TestRun.Of();
        site.Start();
        var stream = await server.AcceptAsync();
        await stream.LetInAsync(run, site.Key.Public);
        File.WriteAllText(site.PolicyPath, "jobs: [*");
        stream.Close();
        var silent = await server.AcceptAsync();
        Assert.Null(await silent.NextAsync());
        site.WritePolicy();
        SiteStream mended;
        do
        {
            mended = await server.AcceptAsync();
        }
        while (!await mended.SpeaksAsync());

        Assert.Equal("", (await mended.LetInAsync(run, site.Key.Public)).Unfit);
    }

    [Fact]
    public async Task Only_permitted_types_of_messages_leave_and_nothing_of_the_text()
    {
        const string Secret = "patient 0815 coughs";
        await using var server = await FederationServer.StartAsync();
        await using var site = new TestSite(server);
        // No metrics: neither the loss of training nor an evaluation may leave.
        site.WritePolicy(messages: "join, leave, heartbeat, refusal, update");
        var run = TestRun.Of();
        site.Training.WhileTraining = _ =>
        {
            if (site.Training.Trainings > 1)
                throw new InvalidDataException($"line 1 cannot be read: {Secret}");
        };
        site.Start();
        var stream = await server.AcceptAsync();
        await stream.LetInAsync(run, site.Key.Public);
        stream.Say(run.Round(server.Publish(0, Model)));
        var offer = await SiteRoundTests.Deliver(stream);
        stream.Say(new UpdateAcknowledged(run.Run.Run, offer.Id));
        stream.Say(new EvaluateModel(run.Run.Run, server.Publish(1, Model)));
        Assert.Contains("no measurement", (await stream.HearAsync<RoundRefused>()).Reason);
        stream.Say(run.Round(server.Publish(1, Model), round: 2));
        await stream.HearAsync<RoundFailed>();
        site.Drain();
        await site.EndAsync();

        Assert.True(double.IsNaN(offer.Loss));
        var types = new HashSet<string>();
        foreach (var message in server.Received)
        {
            switch (message)
            {
                case FromWorker { BodyCase: FromWorker.BodyOneofCase.SiteWord } word:
                    types.Add(word.SiteWord.Type);
                    Assert.Equal(RoundMessageFormat.TypeOf(RoundMessageFormat.ReadFromSite(word.SiteWord.Content.Memory)), word.SiteWord.Type);
                    break;
                case FromWorker other:
                    Assert.True(other.BodyCase is FromWorker.BodyOneofCase.SiteIntroduction or FromWorker.BodyOneofCase.SiteProof or FromWorker.BodyOneofCase.Heartbeat);
                    break;
                default:
                    Assert.True(message is UpdateChunk or ModelRequest);
                    break;
            }
            Assert.Equal(-1, message.ToByteArray().AsSpan().IndexOf(Encoding.UTF8.GetBytes(Secret)));
            Assert.Equal(-1, message.ToByteArray().AsSpan().IndexOf("/data/reports"u8));
        }
        Assert.Subset(new HashSet<string> { "join", "leave", "heartbeat", "refusal", "update" }, types);
        // What left is what the audit log says.
        var recorded = File.ReadLines(site.AuditPath).Count(line => line.Contains("\"kind\":\"sent\""));
        Assert.Equal(server.Received.OfType<FromWorker>().Count(message => message.BodyCase == FromWorker.BodyOneofCase.SiteWord) + 1, recorded);
    }

    [Fact]
    public async Task Updates_do_not_leave_once_the_policy_forbids_them()
    {
        await using var server = await FederationServer.StartAsync();
        await using var site = new TestSite(server);
        var run = TestRun.Of();
        site.Start();
        var stream = await server.AcceptAsync();
        await stream.LetInAsync(run, site.Key.Public);
        stream.Say(run.Round(server.Publish(0, Model)));
        await stream.HearAsync<UpdateOffered>();
        site.WritePolicy(messages: "join, leave, heartbeat, refusal");
        stream.Close();
        var again = await server.AcceptAsync();
        var hello = await again.LetInAsync(run, site.Key.Public);
        again.Say(new UploadFrom(run.Run.Run, new UpdateId(new RoundKey(1, 1), TestSite.Name, new string('0', 64)), 0));
        await SiteRoundTests.Until(() => site.Log.Text.Contains("does not let UpdateOffered leave"));

        Assert.Contains("messages", hello.Unfit);
        Assert.DoesNotContain(server.Received, message => message is UpdateChunk);
    }
}
