using Sora.Federation.Rounds;
using Sora.Protocol.Jobs;

namespace Sora.Federation.Tests.Rounds;

public class FederatedJobTests
{
    private const string Rest = "name: f\ndata: {train: [a.txt]}\n";

    [Fact]
    public void A_section_that_says_little_gets_the_defaults()
    {
        var settings = FederatedJob.Settings(Load("federated: 5").Job);

        Assert.Equal(new FederationSettings { Rounds = 5 }, settings);
    }

    [Fact]
    public void Every_key_arrives()
    {
        var settings = FederatedJob.Settings(Load("""
            federated:
              rounds: 3
              strategy: {type: fedadam, server_learning_rate: 0.05, beta_1: 0.8, tau: 0.01}
              local_steps: 4
              fraction_train: 0.5
              min_available_sites: 6
              quorum: 3
              over_selection: 1.5
              round_deadline: 30
              max_attempts: 2
              eval_rounds: 2
              quantization: int8
              differential_privacy: {model: local, noise_multiplier: 0.7, clipping_norm: 2, target_epsilon: 3, delta: 1e-6}
            """).Job);

        Assert.Equal(new FederationSettings
        {
            Rounds = 3,
            Strategy = new StrategySettings("fedadam") { Parameters = new FederationSettings().Strategy.Parameters.Add("server_learning_rate", 0.05).Add("beta_1", 0.8).Add("tau", 0.01) },
            LocalSteps = 4,
            LocalEpochs = 0,
            FractionTrain = 0.5,
            MinAvailableSites = 6,
            Quorum = 3,
            OverSelection = 1.5,
            RoundDeadline = 30,
            MaxAttempts = 2,
            EvalRounds = 2,
            Quantization = UpdateQuantization.Int8,
            DifferentialPrivacy = new DifferentialPrivacySettings(PrivacyModel.Local, 0.7, 2, 3, 1e-6),
        }, settings);
    }

    [Fact]
    public void Masked_and_asynchronous_jobs_are_one_word_each()
    {
        Assert.Equal(new SecureAggregationSettings(), FederatedJob.Settings(Load("federated: {rounds: 1, secure_aggregation: true}").Job).SecureAggregation);

        var asynchronous = FederatedJob.Settings(Load("federated: {rounds: 1, mode: asynchronous, strategy: fedbuff}").Job);
        Assert.Equal((FederationMode.Asynchronous, 0), (asynchronous.Mode, asynchronous.EvalRounds));
    }

    [Fact]
    public void All_that_is_wrong_is_told_with_its_lines()
    {
        var loaded = Load("""
            federated:
              rounds: 3
              strategy: fedadamm
              min_available_sites: 2
              quorum: 5
            """);

        var errors = Assert.Throws<JobErrors>(() => FederatedJob.Settings(loaded.Job, loaded.Origins)).Errors;

        Assert.Equal(["federated.quorum", "federated.strategy"], errors.Select(error => error.Key).Order());
        Assert.Equal([5, 7], errors.Select(error => error.Origin!.Value.Line).Order());
        Assert.Contains("Did you mean 'fedadam'?", errors.Single(error => error.Key == "federated.strategy").Message);
    }

    [Fact]
    public void A_job_without_rounds_is_not_federated() =>
        Assert.Contains("sora train", Assert.Throws<SoraException>(() => FederatedJob.Settings(Load("").Job)).Message);

    private static LoadedJob Load(string federated) => JobLoader.LoadText(Rest + federated, "job.yaml", new JobOverrides());
}
