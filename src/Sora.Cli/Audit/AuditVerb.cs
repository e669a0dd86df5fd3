using System.CommandLine;
using System.Text.Json;
using Sora.Cli.Shell;
using Sora.Federation.Audit;
using Sora.Federation.Identity;
using Sora.Protocol.Jobs;

namespace Sora.Cli.Audit;

/// <summary><c>sora audit</c>: whether an audit log is what was written, and what it says.</summary>
internal static class AuditVerb
{
    public static Command Create() => new Verb("audit", "Verify, read and report an audit log.") { Verify(), Show(), Export() };

    private static Verb Verify()
    {
        var arguments = new LogArguments();
        var json = new Option<bool>("--json") { Description = "Print one JSON object." };
        var verb = new Verb("verify", "Find every line that was edited, removed, moved, repeated or put in. Exit code 1: there is one.",
            "sora audit verify audit.jsonl",
            "sora audit verify audit.jsonl --head 9f2c... --key site.key.pub      # also what was cut off the end, or written anew") { json };
        arguments.AddTo(verb);
        verb.SetAction(result =>
        {
            var (path, expected) = arguments.Read(result);
            using var log = arguments.Open(path);
            var found = AuditVerifier.Read(log, expected);
            if (result.GetValue(json))
                Console.Out.WriteLine(PlainJson.Write(new VerifiedLog(path, found.IsSound, found.Entries, found.Head, found.Checkpoints, expected.Key?.Fingerprint, found.Problems)));
            else
                Print(path, found, expected);
            return found.IsSound ? ExitCode.Ok : ExitCode.Failure;
        });
        return verb;
    }

    private sealed record VerifiedLog(string Path, bool IsSound, long Entries, string? Head, long Checkpoints, string? CheckedKey, IReadOnlyList<AuditProblem> Problems);

    private static void Print(string path, AuditVerification found, AuditExpectations expected)
    {
        foreach (var problem in found.Problems) Console.Out.WriteLine(problem.Line > 0 ? $"{path}:{problem.Line}: {problem}" : $"{path}: {problem}");
        Console.Out.WriteLine(found.IsSound ? $"{path}: intact" : $"{path}: NOT INTACT, {found.Problems.Count} problems");
        Console.Out.WriteLine($"entries: {found.Entries}, checkpoints: {found.Checkpoints}{(found.Checkpoints > 0 && expected.Key is null ? " (signatures not checked, for want of --key)" : "")}");
        Console.Out.WriteLine($"head: {found.Head ?? "none"}");
    }

    private static Verb Show()
    {
        var arguments = new LogArguments();
        var job = new Option<string>("--job") { Description = "Only entries of this job.", HelpName = "NAME" };
        var kind = new Option<string[]>("--kind") { Description = "Only entries of this kind; may be repeated.", HelpName = "KIND", DefaultValueFactory = _ => [] };
        var json = new Option<bool>("--json") { Description = "Print one JSON object an entry." };
        var verb = new Verb("show", "Print the entries of a log. Problems go to stderr, with exit code 1.",
            "sora audit show audit.jsonl --job chest-xray",
            "sora audit show audit.jsonl --kind decided --json") { job, kind, json };
        arguments.AddTo(verb);
        verb.SetAction(result =>
        {
            var (path, expected) = arguments.Read(result);
            var (onlyJob, kinds, asJson) = (result.GetValue(job), result.GetRequiredValue(kind), result.GetValue(json));
            using var log = arguments.Open(path);
            var found = AuditVerifier.Read(log, expected, entry =>
            {
                if (kinds.Length > 0 && !kinds.Contains(entry.Kind)) return;
                if (onlyJob is not null && (entry.Event as IOfJob)?.Job != onlyJob) return;
                Console.Out.WriteLine(asJson
                    ? PlainJson.Write(new ShownEntry(entry.Sequence, entry.Time, entry.Kind, entry.Fields, entry.Hash))
                    : $"{entry.Sequence,6}  {entry.Time:u}  {entry.Kind,-10}  {PlainJson.Write(entry.Fields)}");
            });
            Warnings.Write(found.Problems.Select(problem => problem.ToString()));
            return found.IsSound ? ExitCode.Ok : ExitCode.Failure;
        });
        return verb;
    }

    private sealed record ShownEntry(long Seq, DateTimeOffset Time, string Kind, JsonElement Fields, string Hash);

    private static Verb Export()
    {
        var arguments = new LogArguments();
        var output = new Option<string>("--output", "-o") { Description = "Folder for audit-report.md and audit-report.json; without it the report is printed.", HelpName = "DIR" };
        var json = new Option<bool>("--json") { Description = "Print the report as JSON rather than as Markdown." };
        var verb = new Verb("export", "Report rounds, epsilon, refusals and bytes out of each job. Exit code 1: the log is not intact, and the report says so.",
            "sora audit export audit.jsonl -o report/ --key site.key.pub",
            "sora audit export audit.jsonl > report.md") { output, json };
        arguments.AddTo(verb);
        verb.SetAction(result =>
        {
            var (path, expected) = arguments.Read(result);
            using var log = arguments.Open(path);
            var report = ComplianceReport.Of(log, expected);
            if (result.GetValue(output) is { } folder) Save(Path.GetFullPath(folder), report);
            else Console.Out.Write(result.GetValue(json) ? report.ToJson() + "\n" : ComplianceMarkdown.Of(report));
            Warnings.Write(report.Problems);
            return report.IsIntact ? ExitCode.Ok : ExitCode.Failure;
        });
        return verb;
    }

    private static void Save(string folder, ComplianceReport report)
    {
        try
        {
            Directory.CreateDirectory(folder);
            foreach (var (name, text) in new[] { ("audit-report.md", ComplianceMarkdown.Of(report)), ("audit-report.json", report.ToJson() + "\n") })
            {
                File.WriteAllText(Path.Combine(folder, name), text);
                Console.Out.WriteLine(Path.Combine(folder, name));
            }
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new SoraException($"The report cannot be written: {e.Message}", ExitCode.Failure, e);
        }
    }
}
