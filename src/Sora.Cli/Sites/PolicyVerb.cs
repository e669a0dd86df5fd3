using System.CommandLine;
using Sora.Cli.Shell;
using Sora.Federation.Policies;
using Sora.Protocol.Jobs;

namespace Sora.Cli.Sites;

/// <summary><c>sora policy</c>: what a site's policy means, before a job finds out.</summary>
internal static class PolicyVerb
{
    public static Command Create() => new Verb("policy", "What a site lets jobs do.") { Check() };

    private static Verb Check()
    {
        var file = new Argument<string>("policy") { Description = "Policy file (YAML)." };
        var request = new Option<string>("--request") { Description = "A request (JSON) to judge by it, for a site that has taken part in nothing yet.", HelpName = "FILE" };
        var at = Moments.Create("--at", "When the request comes; default now.");
        var json = new Option<bool>("--json") { Description = "Print one JSON object." };
        var verb = new Verb("check", "Read a policy, print every rule with its value and place, and judge a request by it. Exit code 1: refused.",
            "sora policy check policy.yaml",
            "sora policy check policy.yaml --request request.json --at 2027-01-31T22:00+01:00") { file, request, at, json };
        verb.SetAction(result =>
        {
            var policy = PolicyFile.Load(result.GetRequiredValue(file));
            var decision = result.GetValue(request) is { } path
                ? PolicyJudge.Judge(policy, RoundRequestJson.Parse(ReadRequest(path)), SiteState.Fresh, result.GetValue(at) ?? TimeProvider.System.GetUtcNow())
                : null;
            if (result.GetValue(json)) Console.Out.WriteLine(ToJson(policy, decision));
            else Print(policy, decision);
            return decision is { IsAllowed: false } ? ExitCode.Failure : ExitCode.Ok;
        });
        return verb;
    }

    private static string ReadRequest(string path)
    {
        try
        {
            return File.ReadAllText(path);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new SoraException($"The request cannot be read: {e.Message}", ExitCode.Usage, e);
        }
    }

    private static void Print(LoadedPolicy policy, PolicyDecision? decision)
    {
        var width = PolicyFile.Keys.Max(key => key.Path.Length) + 2;
        foreach (var key in PolicyFile.Keys)
            Console.Out.WriteLine($"{(key.Path + ":").PadRight(width)}{JobKey.Spell(key.ValueIn(policy.Policy)),-32}  # {policy.OriginOf(key.Path)?.ToString() ?? "default"}");
        if (decision is null) return;
        Console.Out.WriteLine();
        Console.Out.WriteLine(decision.IsAllowed ? "allowed" : $"REFUSED: {decision.Broken.Count} rules are broken");
        foreach (var broken in decision.Broken) Console.Out.WriteLine($"  {broken}");
    }

    private static string ToJson(LoadedPolicy policy, PolicyDecision? decision) => PlainJson.Write(new
    {
        policy = PolicyFile.Keys.ToDictionary(key => key.Path, key => key.ValueIn(policy.Policy)),
        allowed = decision?.IsAllowed,
        broken = decision?.Broken.Select(broken => new { rule = broken.Rule, line = broken.Origin?.Line, asked = broken.Asked, allowed = broken.Allowed }),
    });
}
