using System.Globalization;
using Sora.Federation.Identity;
using Sora.Federation.Rounds;
using Sora.Protocol.Jobs;

namespace Sora.Cli.Federate;

/// <summary>
/// A site that <c>sora federate</c> plays on this machine: a folder with all that a site elsewhere has, its own key, policy, state and log, and the
/// name of its own data.
/// </summary>
/// <param name="Name">Its name.</param>
/// <param name="Inputs">Its data.</param>
/// <param name="Folder">Its folder.</param>
internal sealed record LocalSite(string Name, IReadOnlyList<string> Inputs, string Folder)
{
    /// <summary>Its private key.</summary>
    public string KeyFile => Path.Combine(Folder, "site.key");

    /// <summary>What it lets the job do.</summary>
    public string PolicyFile => Path.Combine(Folder, "policy.yaml");

    /// <summary>The sites a job names.</summary>
    /// <exception cref="SoraException">One is not written as NAME=INPUT, or named twice.</exception>
    public static IReadOnlyList<LocalSite> Of(TrainingJob job, string outputDir)
    {
        var sites = job.Federated.Sites.Select(text =>
        {
            var equals = text.IndexOf('=');
            var (name, inputs) = equals < 0 ? ("", "") : (text[..equals].Trim(), text[(equals + 1)..]);
            return JobValidation.IsName(name) && inputs.Trim().Length > 0
                ? new LocalSite(name, [.. inputs.Split(';', StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries)], Path.Combine(outputDir, "sites", name))
                : throw new SoraException($"federated.sites: '{text}' is not NAME=INPUT, such as hospital-a=data/a. A name has letters, digits, '-', '_' and '.'.", ExitCode.Usage);
        }).ToList();
        return sites.GroupBy(site => site.Name).FirstOrDefault(group => group.Count() > 1) is { } twice
            ? throw new SoraException($"federated.sites names {twice.Key} twice; give each site a name of its own.", ExitCode.Usage)
            : sites;
    }

    /// <summary>Makes its folder, its key and its policy, as far as they are not there, and lets it in.</summary>
    public void Prepare(TrainingJob job, FederationSettings settings, string admissions, string coordinator, DateTimeOffset now)
    {
        Directory.CreateDirectory(Folder);
        if (!File.Exists(KeyFile))
        {
            using var key = IdentityKey.Create();
            KeyFiles.Write(KeyFile, key, Name);
        }
        File.WriteAllText(PolicyFile, Policy(job, settings, coordinator));
        var known = KeyFiles.ReadPublic(KeyFiles.PublicPathOf(KeyFile));
        AdmissionFile.Change(admissions, list => list.Judge(known.Key.Fingerprint, now).IsAdmitted ? list : list.Register(known, now, "sora federate"));
    }

    /// <summary>The arguments of its process.</summary>
    public IReadOnlyList<string> Arguments(TrainingJob job, string coordinators) =>
    [
        "site", "start", "--coordinator", coordinators, "--policy", PolicyFile, "--identity", KeyFile, "--state", Path.Combine(Folder, "state"), "--managed", "--cache-dir", job.Data.CacheDir,
        .. Inputs.SelectMany(input => new[] { "--data", $"{Name}={input}" }),
    ];

    // The narrowest policy under which the job can run: what a site elsewhere would have to agree to.
    private string Policy(TrainingJob job, FederationSettings settings, string coordinator)
    {
        var privacy = settings.DifferentialPrivacy is { } dp
            ? string.Create(CultureInfo.InvariantCulture, $"""
              privacy:
                max_epsilon_per_job: {dp.TargetEpsilon}
                max_epsilon_total: {dp.TargetEpsilon}
                max_delta: {dp.Delta}
                min_noise_multiplier: {dp.NoiseMultiplier}
                max_clipping_norm: {dp.ClippingNorm}
                trust_coordinator_noise: {(dp.Model == PrivacyModel.Central ? "true" : "false")}
              """)
            : "privacy: {required: false, require_clipping: false}";
        var secure = settings.SecureAggregation is not null;
        return string.Create(CultureInfo.InvariantCulture, $$"""
            # Written by 'sora federate' for a site it plays on this machine.
            jobs: [{{job.Name}}]
            coordinators: ["{{coordinator}}"]
            data_sets: [{{Name}}]
            strategies: [{{settings.Strategy.Name}}]
            {{privacy}}
            updates: {adapters_only: {{(job.Lora.IsOn ? "true" : "false")}}, max_rounds: {{settings.Rounds}}}
            secure_aggregation: {required: {{(secure ? "true" : "false")}}}
            messages: [join, leave, heartbeat, refusal, keys, shares, masked_update, consistency, unmask, metrics{{(secure ? "" : ", update")}}]
            metrics: {allowed: [loss], max_digits: 6, min_examples: 1}
            """);
    }
}
