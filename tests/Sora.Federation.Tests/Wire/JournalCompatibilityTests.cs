using System.Collections.Immutable;
using System.Text;
using Sora.Federation.Rounds;
using Sora.Federation.Wire;
using Sora.Protocol.Jobs;

namespace Sora.Federation.Tests.Wire;

/// <summary>
/// What a release has written to its journals, byte for byte. If one of these fails, runs that are going on cannot be taken up by the new
/// release: append an element, or give the new form a new manifest and keep reading the old one.
/// </summary>
public sealed class JournalCompatibilityTests
{
    private static readonly string Hash = string.Concat(Enumerable.Repeat("0123456789abcdef", 4));
    private static readonly RoundKey Key = new(3, 2);
    private static readonly ModelVersion Model = new(2, Hash);
    private static readonly UpdateId Id = new(Key, "clinic", Hash);
    private static readonly AcceptedUpdate Update = new(Id, 120, 2.5, 1, 0.25);

    private static readonly Dictionary<string, RoundDecision> Decisions = new RoundDecision[]
    {
        new FederationAccepted(new FederatedRun("fed-1", 42, new ModelVersion(0, Hash), new ChunkLayout(1000, 100), Settings())),
        new FederationTakenUp(),
        new RoundOpened(Key, Model, new Cohort(["clinic", "lab"], 2, 1)),
        new BudgetGranted(Key, 1.5),
        new UpdateAccepted(Update),
        new RoundClosed(Key, [Update]),
        new RoundAbandoned(Key, "too late", Names("clinic", "lab"), Names("lab")),
        new ModelCommitted(Key, new ModelVersion(3, Hash), 2.25),
        new BudgetClosed(Key),
        new EvaluationClosed(3, null),
        new SiteBarred("lab", "revoked"),
        new SiteUnbarred("lab"),
        new FederationStopDecided("enough"),
        new FederationEnded(new FederationFinished(10, Hash, 2.25, null, 1.5)),
        new FederationEnded(new FederationStopped(3, Hash, "enough")),
        new FederationEnded(new FederationFailed(3, Hash, "no disk", 1)),
    }.ToDictionary(RoundDecisionFormat.Manifest);

    private static readonly Dictionary<string, string> Journal = new()
    {
        ["federation-accepted:v1"] = "9195a56665642d312a9200d940(hash)92cd03e864da01ee" + HexOf(
            """
            {"mode":"synchronous","rounds":10,"local_steps":20,"local_epochs":0,"fraction_train":1,
            "min_available_sites":2,"quorum":2,"over_selection":1,"round_deadline":3600,"max_attempts":10,
            "eval_rounds":1,"buffer_size":2,"max_staleness":10,"strategy":{"name":"fedavgm","parameters":{"server_momentum":0.5}},
            "quantization":"fp32","secure_aggregation":{"threshold":0.75,"stage_deadline":60},
            "differential_privacy":{"model":"local","noise_multiplier":1,"clipping_norm":1,"target_epsilon":8,"delta":1E-05}}
            """),
        ["federation-taken-up:v1"] = "90",
        ["round-opened:v1"] = "939203029202d940(hash)9392a6636c696e6963a36c61620201",
        ["budget-granted:v1"] = "92920302cb3ff8000000000000",
        ["update-accepted:v1"] = "919593920302a6636c696e6963d940(hash)cb405e000000000000cb400400000000000001cb3fd0000000000000",
        ["round-closed:v1"] = "92920302919593920302a6636c696e6963d940(hash)cb405e000000000000cb400400000000000001cb3fd0000000000000",
        ["round-abandoned:v1"] = "94920302a8746f6f206c61746592a6636c696e6963a36c616291a36c6162",
        ["model-committed:v1"] = "939203029203d940(hash)cb4002000000000000",
        ["budget-closed:v1"] = "91920302",
        ["evaluation-closed:v1"] = "9203c0",
        ["site-barred:v1"] = "92a36c6162a77265766f6b6564",
        ["site-unbarred:v1"] = "91a36c6162",
        ["federation-stop-decided:v1"] = "91a6656e6f756768",
        ["federation-finished:v1"] = "950ad940(hash)cb4002000000000000c0cb3ff8000000000000",
        ["federation-stopped:v1"] = "9303d940(hash)a6656e6f756768",
        ["federation-failed:v1"] = "9403d940(hash)a76e6f206469736b01",
    };

    private static readonly (RoundSiteDecision Decision, string Written)[] SiteJournal =
    [
        (new RoundTaken(Key), "92ae726f756e642d74616b656e3a763191920302"),
        (new UpdateReady(new UpdateOffer(Id, 4000, 120, 2.5)), "92af7570646174652d72656164793a7631919493920302a6636c696e6963d940(hash)cd0fa0cb405e000000000000cb4004000000000000"),
        (new RoundLeft(Key), "92ad726f756e642d6c6566743a763191920302"),
    ];

    [Fact]
    public void Every_decision_has_a_sample()
    {
        Assert.Equal(WireValues.Kinds<RoundDecision>().Order(ByName), Decisions.Values.Select(decision => decision.GetType()).Distinct().Order(ByName));
        Assert.Equal(WireValues.Kinds<RoundSiteDecision>().Order(ByName), SiteJournal.Select(sample => sample.Decision.GetType()).Order(ByName));
        Assert.Equal(Decisions.Keys.Order(StringComparer.Ordinal), Journal.Keys.Order(StringComparer.Ordinal));
    }

    [Fact]
    public void A_coordinators_journal_of_the_first_release_is_still_written_and_read_so() => Assert.All(Journal, entry =>
    {
        // Its settings get new keys with every release.
        if (entry.Key != "federation-accepted:v1")
            Assert.Equal(entry.Value, Shortened(RoundDecisionFormatTests.Write(Decisions[entry.Key])));
        Assert.Equal(WireValues.Shown(Decisions[entry.Key]), WireValues.Shown(RoundDecisionFormatTests.Read(entry.Key, Restored(entry.Value))));
    });

    [Fact]
    public void A_sites_journal_of_the_first_release_is_still_written_and_read_so() => Assert.All(SiteJournal, entry =>
    {
        Assert.Equal(entry.Written, Shortened(SiteDecisionFormat.Write(entry.Decision)));
        Assert.Equal(entry.Decision, SiteDecisionFormat.Read(Restored(entry.Written)));
    });

    private static Comparer<Type> ByName => Comparer<Type>.Create((one, other) => string.CompareOrdinal(one.Name, other.Name));

    private static FederationSettings Settings() => new()
    {
        LocalSteps = 20,
        LocalEpochs = 0,
        Quorum = 2,
        Strategy = new StrategySettings("fedavgm") { Parameters = ImmutableSortedDictionary<string, double>.Empty.WithComparers(StringComparer.Ordinal).Add("server_momentum", 0.5) },
        SecureAggregation = new SecureAggregationSettings(0.75),
        DifferentialPrivacy = new DifferentialPrivacySettings(PrivacyModel.Local),
    };

    private static ImmutableSortedSet<string> Names(params string[] names) => names.ToImmutableSortedSet(StringComparer.Ordinal);

    private static string HexOf(string text) => Convert.ToHexStringLower(Encoding.ASCII.GetBytes(text.ReplaceLineEndings("")));

    private static string Shortened(byte[] written) =>
        Convert.ToHexStringLower(written).Replace(HexOf(Hash), "(hash)", StringComparison.Ordinal);

    private static byte[] Restored(string written) =>
        Convert.FromHexString(written.Replace("(hash)", HexOf(Hash), StringComparison.Ordinal));
}
