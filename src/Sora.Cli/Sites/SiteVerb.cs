using System.CommandLine;
using Sora.Cli.Shell;
using Sora.Federation.Identity;
using Sora.Protocol.Jobs;

namespace Sora.Cli.Sites;

/// <summary><c>sora site</c>: who a site is, and which sites a coordinator lets in.</summary>
internal static class SiteVerb
{
    public static Command Create()
    {
        var verb = SiteStartVerb.Runs(new Verb("site", "Run a site: train on data that never leaves it, as far as its policy permits. Also keys of sites, and which sites a coordinator lets in.",
            "sora site --coordinator http://trainer:5400 --data reports/ --policy policy.yaml --identity site.key"));
        foreach (var part in new Command[] { SiteStartVerb.Runs(new Verb("start", "The same as 'sora site'.")), KeyGen(), Register(), Revoke(), List(), CertificatesVerb.Create() }) verb.Add(part);
        return verb;
    }

    private static Verb KeyGen()
    {
        var name = new Argument<string>("name") { Description = "The site's name." };
        var output = new Option<string>("--output", "-o") { Description = "File for the private key; FILE.pub gets the public one. Default: NAME.key.", HelpName = "FILE" };
        var json = JsonOption();
        var verb = new Verb("keygen", "Make the key that a site proves itself with.",
            "sora site keygen hospital-a                    # keep hospital-a.key, send hospital-a.key.pub to the operator",
            "sora site keygen hospital-a -o /etc/sora/site.key") { name, output, json };
        verb.SetAction(result =>
        {
            var site = result.GetRequiredValue(name);
            var path = Path.GetFullPath(result.GetValue(output) ?? site + ".key");
            using var key = IdentityKey.Create();
            KeyFiles.Write(path, key, site);
            var made = new MadeKey(site, path, KeyFiles.PublicPathOf(path), key.Public.Fingerprint);
            if (result.GetValue(json))
            {
                Console.Out.WriteLine(PlainJson.Write(made));
                return;
            }
            Console.Out.WriteLine($"private key: {made.PrivateKey} (stays here; who has it is {site})");
            Console.Out.WriteLine($"public key:  {made.PublicKey} (send it to the operator)");
            Console.Out.WriteLine($"fingerprint: {made.Fingerprint} (tell it the operator another way, to compare)");
        });
        return verb;
    }

    private sealed record MadeKey(string Site, string PrivateKey, string PublicKey, string Fingerprint);

    private static Verb Register()
    {
        var file = new Argument<string>("key") { Description = "The site's public key, as 'sora site keygen' wrote it." };
        var admissions = AdmissionsOption();
        var fingerprint = new Option<string>("--fingerprint") { Description = "The fingerprint the site told you; another key is refused.", HelpName = "SHA256" };
        var expires = Moments.Create("--expires", "When the registration ends.");
        var by = ByOption();
        var json = JsonOption();
        var verb = new Verb("register", "Let a site in.",
            "sora site register hospital-a.key.pub --admissions state/sites.json",
            "sora site register hospital-a.key.pub --fingerprint sha256:1f3a... --expires 2027-12-31") { file, admissions, fingerprint, expires, by, json };
        verb.SetAction(result =>
        {
            var site = KeyFiles.ReadPublic(result.GetRequiredValue(file));
            if (result.GetValue(fingerprint) is { } told && told != site.Key.Fingerprint)
                throw new SoraException($"The file holds the key {site.Key.Fingerprint}, not the one you were told. Nothing was registered; ask the site for its key again.", ExitCode.InvalidInput);
            var now = TimeProvider.System.GetUtcNow();
            var list = AdmissionFile.Change(result.GetRequiredValue(admissions), before => before.Register(site, now, result.GetRequiredValue(by), result.GetValue(expires)));
            var entry = list.Entries[^1];
            Console.Out.WriteLine(result.GetValue(json) ? PlainJson.Write(entry) : $"registered: {Describe(entry, now)}");
        });
        return verb;
    }

    private static Verb Revoke()
    {
        var site = new Argument<string>("site") { Description = "The site's name, or its key's fingerprint." };
        var admissions = AdmissionsOption();
        var reason = new Option<string>("--reason") { Description = "Why; it stays in the list.", HelpName = "TEXT", Required = true };
        var by = ByOption();
        var json = JsonOption();
        var verb = new Verb("revoke", "Let a site in no more. Its key never becomes good again.",
            "sora site revoke hospital-a --reason 'laptop stolen' --admissions state/sites.json") { site, admissions, reason, by, json };
        verb.SetAction(result =>
        {
            var now = TimeProvider.System.GetUtcNow();
            var list = AdmissionFile.Change(result.GetRequiredValue(admissions), before => before.Revoke(result.GetRequiredValue(site), result.GetRequiredValue(reason), now, result.GetRequiredValue(by)));
            var entry = list.Entries.Last(one => one.Revoked?.At == now);
            Console.Out.WriteLine(result.GetValue(json) ? PlainJson.Write(entry) : $"revoked: {Describe(entry, now)}");
        });
        return verb;
    }

    private static Verb List()
    {
        var admissions = AdmissionsOption();
        var json = new Option<bool>("--json") { Description = "Print one JSON object a site." };
        var verb = new Verb("list", "Show the sites that are let in, and those that were.", "sora site list --admissions state/sites.json") { admissions, json };
        verb.SetAction(result =>
        {
            var now = TimeProvider.System.GetUtcNow();
            foreach (var entry in AdmissionFile.Load(result.GetRequiredValue(admissions)).Entries)
                Console.Out.WriteLine(result.GetValue(json) ? PlainJson.Write(entry) : Describe(entry, now));
        });
        return verb;
    }

    private static string Describe(AdmissionEntry entry, DateTimeOffset now)
    {
        var state = entry switch
        {
            { Revoked: { } revoked } => $"REVOKED {revoked.At:u} by {OneLine(revoked.By)}: {OneLine(revoked.Reason)}",
            { ExpiresAt: { } end } when end <= now => $"EXPIRED {end:u}",
            { ExpiresAt: { } end } => $"until {end:u}",
            _ => "admitted",
        };
        return $"{entry.Name}  {entry.Fingerprint}  registered {entry.RegisteredAt:u} by {OneLine(entry.RegisteredBy)}  {state}";
    }

    // People wrote these.
    private static string OneLine(string text) => string.Concat(text.Select(letter => char.IsControl(letter) ? ' ' : letter));

    private static Option<string> AdmissionsOption() => new("--admissions") { Description = "The coordinator's list of sites.", HelpName = "FILE", DefaultValueFactory = _ => "sites.json" };

    private static Option<string> ByOption() => new("--by") { Description = "Who does it, for the list. Default: your user name.", HelpName = "NAME", DefaultValueFactory = _ => Environment.UserName };

    private static Option<bool> JsonOption() => new("--json") { Description = "Print one JSON object." };
}
