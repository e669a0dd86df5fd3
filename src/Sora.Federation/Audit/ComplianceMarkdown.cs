using System.Globalization;
using System.Text;

namespace Sora.Federation.Audit;

/// <summary>A report as a page for people.</summary>
public static class ComplianceMarkdown
{
    /// <summary>Writes the page.</summary>
    public static string Of(ComplianceReport report)
    {
        var page = new StringBuilder();
        page.Append(CultureInfo.InvariantCulture, $"# Federated training: audit report of {Safe(report.Owner ?? "an unknown site")}\n\n");
        page.Append(report.IsIntact ? "The log is **intact**" : "The log is **NOT INTACT**: this report tells only what can still be read");
        page.Append(CultureInfo.InvariantCulture, $". {report.Entries} entries, {report.Checkpoints} checkpoints ({(report.CheckedKey is null ? "signatures not checked" : $"signed by {report.CheckedKey}")}), head `{report.Head ?? "none"}`.\n");
        foreach (var problem in report.Problems) page.Append(CultureInfo.InvariantCulture, $"* {Safe(problem)}\n");
        if (report.Jobs.Count == 0) page.Append("\nNo job has asked anything.\n");
        foreach (var job in report.Jobs) Append(page, job);
        return page.ToString();
    }

    private static void Append(StringBuilder page, JobReport job)
    {
        page.Append(CultureInfo.InvariantCulture, $"\n## Job {Safe(job.Job)}\n\n| | |\n|---|---|\n");
        Row("from, until", $"{job.From:u}, {job.Until:u}");
        Row("coordinators", Join(job.Coordinators));
        Row("data sets used", Join(job.DataSets));
        Row("rounds asked, allowed, refused, closed", string.Create(CultureInfo.InvariantCulture, $"{job.RoundsAsked}, {job.RoundsAllowed}, {job.Refused.Count}, {job.RoundsClosed}"));
        Row("epsilon spent (delta)", job.Epsilon is null ? "none recorded" : string.Create(CultureInfo.InvariantCulture, $"{job.Epsilon} ({job.Delta})"));
        Row("bytes out", job.BytesOut.ToString(CultureInfo.InvariantCulture));
        foreach (var of in job.Out) Row($"of these {of.Type}", string.Create(CultureInfo.InvariantCulture, $"{of.Bytes} in {of.Messages} messages"));
        Row("updates rejected", job.Rejected.Count.ToString(CultureInfo.InvariantCulture));
        Row("weights after the last round", job.ModelHash ?? "none recorded");
        if (job.Refused.Count > 0) page.Append("\nRefused rounds:\n");
        foreach (var refused in job.Refused)
            page.Append(CultureInfo.InvariantCulture, $"* round {refused.Round}, {refused.Time:u}: {Safe(string.Join("; ", refused.BrokenRules))}\n");
        if (job.Rejected.Count > 0) page.Append("\nRejected updates:\n");
        foreach (var rejected in job.Rejected)
            page.Append(CultureInfo.InvariantCulture, $"* round {rejected.Round}, {Safe(rejected.Site)}: {Safe(rejected.Reason)}\n");

        void Row(string name, string value) => page.Append(CultureInfo.InvariantCulture, $"| {Safe(name)} | {Safe(value)} |\n");
    }

    private static string Join(IReadOnlyList<string> names) => names.Count == 0 ? "none" : string.Join(", ", names);

    // Names come from elsewhere: none of them may become a table, a link or a page of its own.
    private static string Safe(string text)
    {
        var safe = new StringBuilder(text.Length);
        foreach (var letter in text)
        {
            if (char.IsControl(letter)) safe.Append(' ');
            else if ("\\`*_{}[]<>()#|!&".Contains(letter)) safe.Append('\\').Append(letter);
            else safe.Append(letter);
        }
        return safe.ToString();
    }
}
