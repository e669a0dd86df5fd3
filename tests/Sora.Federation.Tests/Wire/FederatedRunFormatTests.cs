using CsCheck;
using Sora.Federation.Rounds;
using Sora.Federation.Wire;

namespace Sora.Federation.Tests.Wire;

public sealed class FederatedRunFormatTests
{
    [Fact]
    public void A_run_is_read_as_it_was_submitted() =>
        WireValues.Run.Sample(run => Assert.Equal(run, FederatedRunFormat.Read(FederatedRunFormat.Write(run))), iter: 1000);

    [Fact]
    public void Equal_settings_are_equal_bytes_with_every_key_explicit()
    {
        var settings = new FederationSettings { SecureAggregation = new SecureAggregationSettings(0.75) };

        Assert.Equal(
            """
            {"mode":"synchronous","rounds":10,"local_steps":0,"local_epochs":1,"fraction_train":1,"min_available_sites":2,"quorum":null,"over_selection":1,
            "round_deadline":3600,"max_attempts":10,"eval_rounds":1,"buffer_size":2,"max_staleness":10,"strategy":{"name":"fedavg","parameters":{}},
            "quantization":"fp32","secure_aggregation":{"threshold":0.75,"stage_deadline":60},"differential_privacy":null}
            """.ReplaceLineEndings(""),
            FederationSettingsJson.Write(settings));
    }

    [Fact]
    public void Settings_of_an_older_release_get_the_defaults_of_what_it_did_not_know() =>
        Assert.Equal(new FederationSettings { Rounds = 3 }, FederationSettingsJson.Read("""{"rounds":3}"""));

    [Theory]
    [InlineData("")]
    [InlineData("null")]
    [InlineData("[]")]
    [InlineData("""{"rounds":3,"no_such_key":1}""")]
    [InlineData("""{"rounds":3,"rounds":4}""")]
    [InlineData("""{"rounds":1.5}""")]
    [InlineData("""{"mode":0}""")]
    [InlineData("""{"strategy":null}""")]
    [InlineData("""{"strategy":{"parameters":{}}}""")]
    [InlineData("""{"strategy":{"name":"fedavg","parameters":{"a":1,"a":2}}}""")]
    [InlineData("""{"strategy":{"name":"fedavg","parameters":null}}""")]
    [InlineData("""{"fraction_train":"NaN"}""")]
    public void Settings_that_are_none_are_refused(string json) => Assert.Throws<InvalidRoundMessageException>(() => FederationSettingsJson.Read(json));

    [Fact]
    public void A_run_whose_settings_contradict_each_other_is_refused_but_stays_readable_in_a_journal()
    {
        var hash = new string('0', 64);
        var run = new FederatedRun("fed-1", 1, new ModelVersion(0, hash), new ChunkLayout(10, 10), new FederationSettings { MinAvailableSites = 1, Quorum = 2 });
        var accepted = new FederationAccepted(run);

        var refused = Assert.Throws<InvalidRoundMessageException>(() => FederatedRunFormat.Read(FederatedRunFormat.Write(run)));

        Assert.Contains("federated.quorum", refused.Message, StringComparison.Ordinal);
        Assert.Equal(accepted, RoundDecisionFormatTests.Read("federation-accepted:v1", RoundDecisionFormatTests.Write(accepted)));
    }

    [Fact]
    public void Numbers_that_are_none_cannot_be_submitted()
    {
        var run = new FederatedRun("fed-1", 1, new ModelVersion(0, new string('0', 64)), new ChunkLayout(10, 10), new FederationSettings { RoundDeadline = double.NaN });

        Assert.Throws<InvalidRoundMessageException>(() => FederatedRunFormat.Write(run));
    }
}
