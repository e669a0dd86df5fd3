using Sora.Federation.Rounds;
using Sora.Protocol.Runs;

namespace Sora.Federation.Tests.Rounds;

public sealed class RoundReportTests
{
    [Fact]
    public void Every_report_has_a_name_of_its_own()
    {
        var reports = typeof(RoundCommitted).Assembly.GetTypes().Where(type => type.IsSubclassOf(typeof(RunEvent)) && type.Namespace == typeof(RoundCommitted).Namespace);

        Assert.All(reports, type => Assert.True(RoundReportJson.Names.ContainsKey(type), type.Name));
        Assert.Equal(RoundReportJson.Names.Count, RoundReportJson.Names.Values.Distinct().Count());
    }

    [Fact]
    public void A_round_is_one_line_and_reads_back()
    {
        var round = new RoundCommitted(3, 1, "abc", [new SiteShare("a", "counted", "", 2.5, 100, 0, 12.5), new SiteShare("b", "refused", "rule hours", null, null, null, null)], 2.5, 14, double.NaN);

        var line = RoundReportJson.Write(round);

        Assert.StartsWith("{\"event\":\"round\",\"round\":3", line);
        Assert.DoesNotContain('\n', line);
        var read = Assert.IsType<RoundCommitted>(RoundReportJson.Read(line));
        Assert.Equal(round.Sites, read.Sites);
        Assert.True(double.IsNaN(read.Epsilon!.Value));
    }
}
