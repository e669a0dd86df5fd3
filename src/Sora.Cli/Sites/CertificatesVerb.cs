using System.CommandLine;
using Sora.Cli.Shell;
using Sora.Federation.Identity;
using Sora.Protocol.Jobs;

namespace Sora.Cli.Sites;

/// <summary><c>sora site certificates</c>: all that mutual TLS needs, for those who have no certificate authority.</summary>
internal static class CertificatesVerb
{
    public static Verb Create()
    {
        var output = new Option<string>("--output", "--out", "-o") { Description = "Folder for ca, coordinator and each site: NAME.pem and NAME.key.", HelpName = "DIR", Required = true };
        var hosts = new Option<string[]>("--host") { Description = "Name or address that sites dial; may be repeated. Loopback is always among them.", HelpName = "HOST", DefaultValueFactory = _ => [] };
        var sites = new Option<string[]>("--site") { Description = "A site to make a certificate for; may be repeated.", HelpName = "NAME", DefaultValueFactory = _ => [] };
        var days = new Option<int>("--days") { Description = "How long the certificates are valid.", HelpName = "N", DefaultValueFactory = _ => 365 };
        var json = new Option<bool>("--json") { Description = "Print one JSON object a certificate." };
        var verb = new Verb("certificates", "Make a certificate authority and the certificates of a coordinator and its sites.",
            "sora site certificates -o certs/ --site a --site b                         # all on this machine",
            "sora site certificates -o certs/ --host trainer.example.org --site hospital-a",
            "sora site certificates -o certs/ --site hospital-b                         # one more, by the same authority") { output, hosts, sites, days, json };
        verb.SetAction(result =>
        {
            if (result.GetValue(days) is not (> 0 and <= 36500 and var valid)) throw new SoraException("--days must be from 1 to 36500.", ExitCode.Usage);
            var made = CertificateFolder.Write(Path.GetFullPath(result.GetRequiredValue(output)), result.GetRequiredValue(hosts), result.GetRequiredValue(sites), TimeProvider.System.GetUtcNow(), TimeSpan.FromDays(valid));
            foreach (var one in made)
                Console.Out.WriteLine(result.GetValue(json) ? PlainJson.Write(one) : $"{one.Name}: {one.Certificate}, {one.Key}, until {one.Until:u}");
            if (made.Count == 0 && !result.GetValue(json)) Console.Out.WriteLine("Everything is there already.");
        });
        return verb;
    }
}
