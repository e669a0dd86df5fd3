using System.CommandLine;
using System.Globalization;
using Sora.Cli.Shell;
using Sora.Federation.Privacy;
using Sora.Protocol.Jobs;

namespace Sora.Cli.Privacy;

/// <summary><c>sora privacy</c>: what noise promises, how much a promise needs, and what a budget has left.</summary>
internal static class PrivacyVerb
{
    public static Command Create() => new Verb("privacy", "Differential privacy: epsilon of a plan, noise for an epsilon, and what a budget has left.") { Epsilon(), Noise(), Ledger() };

    private static Verb Epsilon()
    {
        var noise = new Option<double>("--noise-multiplier") { Description = "Standard deviation of the noise over the clipping norm.", HelpName = "S", Required = true };
        var json = new Option<bool>("--json") { Description = "Print one JSON object." };
        var options = new ReleaseOptions();
        var verb = new Verb("epsilon", "Print the epsilon that noise gives.",
            "sora privacy epsilon --noise-multiplier 1.1 --sample-rate 0.01 --steps 5000 --delta 1e-6    # DP-SGD",
            "sora privacy epsilon --noise-multiplier 8 --cohort-fraction 1 --rounds 100 --delta 1e-3     # all sites, every round") { noise, json };
        options.AddTo(verb);
        verb.SetAction(result =>
        {
            var releases = options.Read(result);
            Print(releases, result.GetValue(noise), targetEpsilon: null, result.GetValue(json));
        });
        return verb;
    }

    private static Verb Noise()
    {
        var target = new Option<double>("--target-epsilon") { Description = "The most that may be spent.", HelpName = "E", Required = true };
        var json = new Option<bool>("--json") { Description = "Print one JSON object." };
        var options = new ReleaseOptions();
        var verb = new Verb("noise", "Print the smallest noise multiplier that keeps an epsilon.",
            "sora privacy noise --target-epsilon 8 --sample-rate 0.04 --steps 2250 --delta 1e-5",
            "sora privacy noise --target-epsilon 8 --cohort-fraction 0.5 --rounds 200 --delta 1e-4") { target, json };
        options.AddTo(verb);
        verb.SetAction(result =>
        {
            var releases = options.Read(result);
            var epsilon = result.GetValue(target);
            var noise = NoiseCalibration.SmallestNoise(releases.Accountant, epsilon, releases.Delta, releases.SampleRate, releases.Count);
            // Rounded up, so that what is printed keeps the promise too.
            Print(releases, Math.Ceiling(noise * 1e4) / 1e4, epsilon, result.GetValue(json));
        });
        return verb;
    }

    private static void Print(Releases releases, double noise, double? targetEpsilon, bool json)
    {
        var epsilon = releases.Accountant.Epsilon([new PrivacyEvent(noise, releases.SampleRate, releases.Count)], releases.Delta);
        if (json)
        {
            Console.Out.WriteLine(PlainJson.Write(new PrivacyAnswer(epsilon, releases.Delta, noise, releases.SampleRate, releases.Count, targetEpsilon,
                releases.Accountant.Name, releases.Unit, "add_or_remove", releases.Sampling)));
            return;
        }
        if (targetEpsilon is not null) Console.Out.WriteLine(string.Create(CultureInfo.InvariantCulture, $"noise multiplier: {noise}"));
        // Rounded up: a bound that is rounded down is none.
        Console.Out.WriteLine(string.Create(CultureInfo.InvariantCulture, $"epsilon: {RoundedUp(epsilon)} at delta {releases.Delta} ({releases.Accountant.Name})"));
        Console.Out.WriteLine(releases.Assumptions);
    }

    private static string RoundedUp(double epsilon) => (Math.Ceiling(epsilon * 1e4) / 1e4).ToString("0.0000", CultureInfo.InvariantCulture);

    private sealed record PrivacyAnswer(double Epsilon, double Delta, double NoiseMultiplier, double SampleRate, long Count, double? TargetEpsilon,
        string Accountant, string Unit, string Adjacency, string Sampling);

    private static Verb Ledger()
    {
        var file = new Argument<string>("file") { Description = "A privacy ledger." };
        var noise = new Option<double?>("--noise-multiplier") { Description = "Forecast: noise multiplier of the releases to come; without it, like the last.", HelpName = "S" };
        var rate = new Option<double?>("--sample-rate") { Description = "Forecast: sample rate or cohort fraction of the releases to come.", HelpName = "Q" };
        var json = new Option<bool>("--json") { Description = "Print one JSON object." };
        var verb = new Verb("ledger", "Check a privacy ledger and print what is spent and how far the rest goes.",
            "sora privacy ledger site/budget.ledger",
            "sora privacy ledger site/budget.ledger --noise-multiplier 8 --sample-rate 0.5    # what if") { file, noise, rate, json };
        verb.SetAction(result =>
        {
            var report = BudgetLedger.Read(result.GetRequiredValue(file));
            var next = Next(report, result.GetValue(noise), result.GetValue(rate));
            Print(report, next, result.GetValue(json));
        });
        return verb;
    }

    private static PrivacyEvent? Next(LedgerReport report, double? noise, double? rate)
    {
        if (noise is null && rate is null) return report.LastRelease;
        return new PrivacyEvent(
            noise ?? report.LastRelease?.NoiseMultiplier ?? throw Missing("--noise-multiplier"),
            rate ?? report.LastRelease?.SampleRate ?? throw Missing("--sample-rate"),
            report.LastRelease?.Count ?? 1).Validated();
    }

    private static SoraException Missing(string option) => new($"The ledger holds no reservation yet to take {option} from: say it.", ExitCode.Usage);

    private static void Print(LedgerReport report, PrivacyEvent? next, bool json)
    {
        var (budget, spent) = (report.Budget, report.SpentEpsilon);
        long? forecast = next is null ? null : report.Forecast(next);
        if (json)
        {
            Console.Out.WriteLine(PlainJson.Write(new LedgerAnswer(budget.Scope, budget.Epsilon, budget.Delta, budget.Accountant, spent, report.Reservations, report.Unsettled,
                report.EndsTorn, next, forecast, report.Head)));
            return;
        }
        Console.Out.WriteLine($"budget: epsilon {budget.Epsilon} at delta {budget.Delta} ({budget.Accountant}) for {budget.Scope}");
        Console.Out.WriteLine($"spent: epsilon {RoundedUp(spent)} in {report.Reservations:N0} reservations" + (report.Unsettled > 0 ? $", {report.Unsettled:N0} of them not settled and counted in full" : ""));
        if (report.EndsTorn) Console.Out.WriteLine("torn: the last line is not whole (somebody is writing it, or a crash cut it short); it is counted as spent");
        Console.Out.WriteLine(next is null
            ? "forecast: nothing was reserved yet; say --noise-multiplier and --sample-rate"
            : $"forecast: {forecast:N0} more with noise multiplier {next.NoiseMultiplier}, sample rate {next.SampleRate}" + (next.Count > 1 ? $", {next.Count:N0} releases each" : ""));
        Console.Out.WriteLine($"head: {report.Head}");
    }

    private sealed record LedgerAnswer(string Scope, double Epsilon, double Delta, string Accountant, double SpentEpsilon, long Reservations, long Unsettled, bool EndsTorn,
        PrivacyEvent? Next, long? Forecast, string Head);
}
