using System.Text.Json;
using Sora.Federation.Privacy;

namespace Sora.Cli.Tests.Privacy;

public sealed class PrivacyTests : IDisposable
{
    private readonly TemporaryFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Fact]
    public async Task Epsilon_of_DP_SGD_says_what_it_assumes()
    {
        var told = await SoraProcess.RunAsync(["privacy", "epsilon", "--noise-multiplier", "1.5", "--sample-rate", "0.04", "--steps", "2250", "--delta", "1e-5", "--accountant", "rdp"]);

        Assert.Equal((0, ""), (told.ExitCode, told.Errors));
        Assert.StartsWith("epsilon: 7.3292 at delta 1E-05 (rdp)\n", told.Output);
        Assert.Contains("one example more or less", told.Output);
        Assert.Contains("Poisson sampling", told.Output);
    }

    [Fact]
    public async Task Epsilon_of_rounds_with_all_sites_protects_sites()
    {
        var told = await SoraProcess.RunAsync(["privacy", "epsilon", "--noise-multiplier", "5", "--cohort-fraction", "1", "--rounds", "100", "--delta", "1e-5", "--json"]);
        var answer = JsonDocument.Parse(Assert.Single(told.Output.TrimEnd().Split('\n'))).RootElement;

        Assert.Equal(9.9973, answer.GetProperty("epsilon").GetDouble(), 5e-5);
        Assert.Equal(("site", "none", "add_or_remove", "prv"), (answer.GetProperty("unit").GetString(), answer.GetProperty("sampling").GetString(),
            answer.GetProperty("adjacency").GetString(), answer.GetProperty("accountant").GetString()));
    }

    [Fact]
    public async Task Noise_for_an_epsilon_keeps_it()
    {
        var told = await SoraProcess.RunAsync(["privacy", "noise", "--target-epsilon", "8", "--sample-rate", "0.04", "--steps", "2250", "--delta", "1e-5", "--json"]);
        var answer = JsonDocument.Parse(told.Output).RootElement;

        Assert.InRange(answer.GetProperty("noise_multiplier").GetDouble(), 1.34, 1.34766);
        Assert.InRange(answer.GetProperty("epsilon").GetDouble(), 7.99, 8);
        Assert.Equal(8, answer.GetProperty("target_epsilon").GetDouble());
    }

    [Theory]
    [InlineData("the noise multiplier is -1", "--noise-multiplier", "-1", "--sample-rate", "0.1", "--steps", "10", "--delta", "1e-5")]
    [InlineData("the sample rate is 1.5", "--noise-multiplier", "1", "--sample-rate", "1.5", "--steps", "10", "--delta", "1e-5")]
    [InlineData("either --sample-rate and --steps", "--noise-multiplier", "1", "--sample-rate", "0.5", "--rounds", "10", "--delta", "1e-5")]
    [InlineData("delta is 1;", "--noise-multiplier", "1", "--sample-rate", "0.5", "--steps", "10", "--delta", "1")]
    [InlineData("no privacy accountant 'gdp'", "--noise-multiplier", "1", "--sample-rate", "0.5", "--steps", "10", "--delta", "1e-5", "--accountant", "gdp")]
    public async Task What_makes_no_sense_is_one_clear_error(string expected, params string[] words)
    {
        var told = await SoraProcess.RunAsync(["privacy", "epsilon", .. words]);

        Assert.Equal((2, ""), (told.ExitCode, told.Output));
        Assert.Contains(expected, told.Errors, StringComparison.OrdinalIgnoreCase);
        Assert.Single(told.Errors.TrimEnd().Split('\n'));
    }

    [Fact]
    public async Task A_ledger_shows_what_is_spent_and_what_is_left()
    {
        var file = Path.Combine(_folder.Path, "budget.ledger");
        using (var ledger = BudgetLedger.Create(file, new PrivacyBudget("clinic-3/notes", 8, 1e-5), TimeProvider.System))
        {
            ledger.Settle(ledger.Reserve("round 1", new PrivacyEvent(4, 1, 1)).Id, 1);
            ledger.Reserve("round 2", new PrivacyEvent(4, 1, 1));
        }
        var told = await SoraProcess.RunAsync(["privacy", "ledger", file]);
        Assert.Equal(0, told.ExitCode);
        Assert.Contains("budget: epsilon 8 at delta 1E-05 (prv) for clinic-3/notes", told.Output);
        Assert.Contains("in 2 reservations, 1 of them not settled and counted in full", told.Output);

        var answer = JsonDocument.Parse((await SoraProcess.RunAsync(["privacy", "ledger", file, "--json"])).Output).RootElement;
        Assert.Contains($"forecast: {answer.GetProperty("forecast").GetInt64()} more with noise multiplier 4, sample rate 1\n", told.Output);

        var bytes = await File.ReadAllBytesAsync(file, TestContext.Current.CancellationToken);
        bytes[40] ^= 1;
        await File.WriteAllBytesAsync(file, bytes, TestContext.Current.CancellationToken);
        var damaged = await SoraProcess.RunAsync(["privacy", "ledger", file]);
        Assert.Equal((4, ""), (damaged.ExitCode, damaged.Output));
        Assert.Contains("is damaged", damaged.Errors);
    }
}
