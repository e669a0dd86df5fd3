using System.Text;
using System.Text.Json;
using Microsoft.Extensions.Time.Testing;
using Sora.Federation.Audit;
using Sora.Federation.Policies;
using Sora.Federation.Tests.Policies;

namespace Sora.Federation.Tests.Audit;

public sealed class ComplianceReportTests : IDisposable
{
    private readonly TemporaryFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    private ComplianceReport Report(Func<byte[], byte[]>? tamper = null)
    {
        var path = _folder.File("audit.jsonl");
        using (var log = AuditLog.Open(path, "hospital-a", new FakeTimeProvider(new DateTimeOffset(2026, 11, 24, 12, 0, 0, TimeSpan.Zero))))
        {
            for (var round = 1; round <= 3; round++)
            {
                var request = PolicyJudgeTests.Fair with { Round = round };
                log.Append(new RoundAsked(round < 3 ? request : request with { DataSets = ["letters"] }));
                log.Append(new RoundDecided("chest-1", round, round < 3, round < 3 ? [] : ["data_sets (policy.yaml:3:12): asked letters, allowed reports"]));
                if (round == 3) continue;
                log.Append(new MessageSent("chest-1", round, "c", "keys", 100, "h"));
                log.Append(new MessageSent("chest-1", round, "c", "masked_update", 5000, "h"));
                log.Append(new PrivacySpent("chest-1", round, 0.4 * round, 1e-6));
            }
            log.Append(new UpdateRejected("chest-1", 2, "b | c", "norm <100> over the limit"));
            log.Append(new RoundClosed("chest-1", 2, ["a"], "feed"));
            log.Append(new MessageSent("lungs", 1, "c", "refusal", 7, "h"));
        }
        return ComplianceReport.Of(new MemoryStream((tamper ?? (bytes => bytes))(File.ReadAllBytes(path))), new AuditExpectations());
    }

    [Fact]
    public void A_job_is_told_by_its_rounds_epsilon_refusals_and_bytes()
    {
        var report = Report();
        var job = report.Jobs[0];

        Assert.Equal(("hospital-a", true, 2), (report.Owner, report.IsIntact, report.Jobs.Count));
        Assert.Equal((3, 2, 1), (job.RoundsAsked, job.RoundsAllowed, job.RoundsClosed));
        Assert.Equal((0.8, 1e-6), (job.Epsilon, job.Delta));
        Assert.Equal((10_200, new MessagesOut("masked_update", 2, 10_000)), (job.BytesOut, job.Out[1]));
        Assert.Equal(["reports"], job.DataSets); // letters were asked for, and refused
        Assert.Equal(3, Assert.Single(job.Refused).Round);
        Assert.Equal("b | c", Assert.Single(job.Rejected).Site);
        Assert.Equal("feed", job.ModelHash);
        Assert.Equal((7, null), (report.Jobs[1].BytesOut, report.Jobs[1].Epsilon));
    }

    [Fact]
    public void The_page_says_the_same_and_names_from_elsewhere_change_nothing_in_it()
    {
        var page = ComplianceMarkdown.Of(Report());

        Assert.Contains("The log is **intact**", page);
        Assert.Contains("## Job chest-1", page);
        Assert.Contains("| rounds asked, allowed, refused, closed | 3, 2, 1, 1 |", page);
        Assert.Contains("| epsilon spent \\(delta\\) | 0.8 \\(1E-06\\) |", page);
        Assert.Contains("| bytes out | 10200 |", page);
        Assert.Contains("* round 3, 2026-11-24 12:00:00Z: data\\_sets", page);
        Assert.Contains("b \\| c: norm \\<100\\> over the limit", page);
    }

    [Fact]
    public void The_json_has_the_same_figures()
    {
        using var document = JsonDocument.Parse(Report().ToJson());
        var job = document.RootElement.GetProperty("jobs")[0];

        Assert.True(document.RootElement.GetProperty("is_intact").GetBoolean());
        Assert.Equal(0.8, job.GetProperty("epsilon").GetDouble());
        Assert.Equal(10_200, job.GetProperty("bytes_out").GetInt64());
        Assert.Equal("letters", job.GetProperty("refused")[0].GetProperty("broken_rules")[0].GetString()!.Split("asked ")[1].Split(',')[0]);
    }

    [Fact]
    public void A_log_that_was_tampered_with_says_so_first()
    {
        var report = Report(bytes => Encoding.UTF8.GetBytes(Encoding.UTF8.GetString(bytes).Replace("\"bytes\":5000", "\"bytes\":5")));

        Assert.False(report.IsIntact);
        Assert.StartsWith("line ", report.Problems[0]);
        Assert.Contains("**NOT INTACT**", ComplianceMarkdown.Of(report));
    }
}
