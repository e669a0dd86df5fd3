using System.CommandLine;
using System.Text.Json;
using Sora.Cli.Shell;
using Sora.Model.Data;
using Sora.Protocol.Jobs;

namespace Sora.Cli.Doctor;

/// <summary><c>sora doctor</c>: what is there, what is missing, and what to do about it.</summary>
internal static class DoctorVerb
{
    public static Command Create()
    {
        var json = new Option<bool>("--json") { Description = "Print one JSON object a finding." };
        var verb = new Verb("doctor", "Check that this machine can train: libraries, devices, ports, memory, disk.", "sora doctor", "SORA_LIBTORCH=/opt/torch/lib sora doctor") { json };
        verb.SetAction(result =>
        {
            var findings = MachineChecks.All(CorpusCache.Root(new DataSettings())).Concat(TorchChecks.All()).ToArray();
            foreach (var finding in findings) Console.Out.WriteLine(result.GetValue(json) ? ToJson(finding) : ToText(finding));
            var bad = findings.Count(finding => finding.Verdict == Verdict.Bad);
            if (bad > 0) Console.Error.WriteLine($"sora: {bad} of {findings.Length} checks failed; see what to do above.");
            return bad > 0 ? ExitCode.Failure : ExitCode.Ok;
        });
        return verb;
    }

    private static string ToText(Finding finding)
    {
        var mark = finding.Verdict switch { Verdict.Good => "ok  ", Verdict.Note => "note", _ => "FAIL" };
        return $"{mark}  {finding.Subject,-14}{finding.Fact}{(finding.Advice is null ? "" : $"\n      {"",-14}-> {finding.Advice}")}";
    }

    private static string ToJson(Finding finding) => JsonSerializer.Serialize(
        new { check = finding.Subject, verdict = finding.Verdict.ToString().ToLowerInvariant(), fact = finding.Fact, advice = finding.Advice });
}
