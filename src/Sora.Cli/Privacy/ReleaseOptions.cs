using System.CommandLine;
using Sora.Cli.Shell;
using Sora.Federation.Privacy;
using Sora.Protocol.Jobs;

namespace Sora.Cli.Privacy;

/// <summary>
/// What is released and how often, in the words of DP-SGD (sample rate, steps: examples are protected) or of federated rounds (cohort
/// fraction, rounds: whole sites are protected).
/// </summary>
internal sealed class ReleaseOptions
{
    private readonly Option<double?> _sampleRate = new("--sample-rate") { Description = "DP-SGD: with which probability an example is in a batch (batch size over examples).", HelpName = "Q" };
    private readonly Option<long?> _steps = new("--steps") { Description = "DP-SGD: how many steps.", HelpName = "T" };
    private readonly Option<double?> _cohort = new("--cohort-fraction") { Description = "Federated: with which probability a site is in a round; 1 when all always are.", HelpName = "Q" };
    private readonly Option<long?> _rounds = new("--rounds") { Description = "Federated: how many rounds.", HelpName = "T" };
    private readonly Option<double> _delta = new("--delta") { Description = "Delta; usual is below one over the number of examples or sites.", HelpName = "D", Required = true };
    private readonly Option<string> _accountant = new("--accountant") { Description = "prv (tight) or rdp (looser).", HelpName = "NAME", DefaultValueFactory = _ => "prv" };

    public ReleaseOptions()
    {
        _accountant.CompletionSources.Clear();
        _accountant.CompletionSources.Add("prv", "rdp");
    }

    public void AddTo(Verb verb)
    {
        foreach (var option in new Option[] { _sampleRate, _steps, _cohort, _rounds, _delta, _accountant }) verb.Add(option);
    }

    public Releases Read(ParseResult result) => (result.GetValue(_sampleRate), result.GetValue(_steps), result.GetValue(_cohort), result.GetValue(_rounds)) switch
    {
        ({ } rate, { } steps, null, null) => new(rate, steps, result.GetValue(_delta), Accountant(result), "example"),
        (null, null, { } fraction, { } rounds) => new(fraction, rounds, result.GetValue(_delta), Accountant(result), "site"),
        _ => throw new SoraException("Say either --sample-rate and --steps (DP-SGD, protects examples) or --cohort-fraction and --rounds (federated rounds, protects whole sites).", ExitCode.Usage),
    };

    private PrivacyAccountant Accountant(ParseResult result) => PrivacyAccountant.Named(result.GetRequiredValue(_accountant));
}

/// <summary>The releases asked about; <c>Unit</c> is what is protected.</summary>
internal sealed record Releases(double SampleRate, long Count, double Delta, PrivacyAccountant Accountant, string Unit)
{
    public string Sampling => SampleRate == 1 ? "none" : "poisson";

    /// <summary>What the number means and when it does not hold, in a sentence or two.</summary>
    public string Assumptions => $"protects: one {Unit} more or less in the data (add or remove), its contribution clipped to the norm the noise is scaled to\n" + (SampleRate == 1
        ? $"assumes: every {Unit} takes part in each {Occasion}"
        : $"assumes: every {Unit} is in each {Occasion} with probability {SampleRate} on its own, and nobody sees who was (Poisson sampling); batches or cohorts of a fixed size are not covered");

    private string Occasion => Unit == "site" ? "round" : "step";
}
