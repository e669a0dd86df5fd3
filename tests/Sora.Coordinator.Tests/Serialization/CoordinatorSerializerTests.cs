using System.Runtime.Serialization;
using Akka.Actor;
using Akka.Serialization;
using Sora.Coordinator.Federations;
using Sora.Coordinator.Runs;
using Sora.Coordinator.Serialization;
using Sora.Coordinator.Workers;
using Sora.Federation.Rounds;
using Sora.Protocol.Api;
using Sora.Protocol.Generations;
using Sora.Protocol.Jobs;
using Sora.Protocol.Runs;

namespace Sora.Coordinator.Tests.Serialization;

public sealed class CoordinatorSerializerTests : IAsyncDisposable
{
    private static readonly RunSpec Spec = new()
    {
        Run = "run-1",
        Name = "name",
        JobJson = "{\"lanes\":4}",
        CorpusHash = "c0",
        CorpusDir = "/corpus",
        OutputDir = "/output",
        ResumeFrom = "/output/checkpoint-5",
        FirstStep = 5,
        MaxSteps = 10,
        Workers = 2,
        Lanes = 4,
        Numerics = NumericsPolicy.Warn,
        ExpectedCanary = "ca",
        ExpectedFingerprint = "libtorch 2.10, cpu avx2, 1 thread",
        Parameters = 123_456_789_012,
        TokensPerStep = 8192,
        Device = "cpu",
        Dtype = "fp32",
        StartWorkers = 1,
        MinWorkers = 2,
        Straggler = StragglerPolicy.Replace,
        StragglerFactor = 3,
        StragglerSeconds = 45,
    };

    private static readonly FederatedRun Federated = new("fed-1", 7, new ModelVersion(0, new string('a', 64)), new ChunkLayout(1000, 256), new FederationSettings { Rounds = 5 });

    // What a journal of the first release says of it.
    private static readonly RunSpec FirstSpec = Spec with { StartWorkers = 2, MinWorkers = 1, Straggler = StragglerPolicy.Warn, StragglerFactor = 1.5, StragglerSeconds = 30 };

    private static readonly GenerationPlan Plan = new(3, [new("w1", new LaneRange(0, 2)), new("w2", new LaneRange(2, 2))], 5);

    private static readonly Dictionary<string, RunDecision> Decisions = new()
    {
        ["submitted:v2"] = new SubmissionAccepted(Spec),
        ["generation-formed:v2"] = new GenerationDecided(Plan, new CanaryReference("ca", "avx2, 1 thread", "computed by 2 of 2 workers, first w1"), NumericsDiffer: true),
        ["taken-up:v1"] = new RunTakenUp(),
        ["worker-barred:v1"] = new WorkerBarred(new WorkerProcess("w2", "7f"), "its device computes wrongly"),
        ["stop-decided:v1"] = new StopDecided("Ctrl-C"),
        ["checkpoint-taken:v1"] = new CheckpointTaken(7, "/output/checkpoint-7", "ab"),
        ["finished:v1"] = new RunEnded(new RunFinished(10, 1.5, null, "ab", "/output")),
        ["stopped:v1"] = new RunEnded(new RunStopped(8, null, "Ctrl-C")),
        ["failed:v1"] = new RunEnded(new RunFailed(9, "out of memory", "w2", "/output/checkpoint-7", 1)),
    };

    private readonly ActorSystem _system = ActorSystem.Create("serialization", "akka { loglevel = OFF, stdout-loglevel = OFF }");

    public static TheoryData<string> Manifests => [.. Decisions.Keys];

    private CoordinatorSerializer Serializer => new((ExtendedActorSystem)_system);

    private static Dictionary<string, byte[]> Golden => File.ReadLines(Path.Combine(AppContext.BaseDirectory, "Serialization", "journal.golden"))
        .Select(line => line.Split(' '))
        .ToDictionary(parts => parts[0], parts => Convert.FromHexString(parts[1]));

    // A journal written by an earlier release must stay readable: never change a line of the golden file, only add.
    [Theory]
    [MemberData(nameof(Manifests))]
    public void Journal_events_are_the_bytes_of_the_golden_file(string manifest)
    {
        Assert.Equal(manifest, Serializer.Manifest(Decisions[manifest]));
        Assert.Equal(Convert.ToHexString(Golden[manifest]), Convert.ToHexString(Serializer.ToBinary(Decisions[manifest])));
        Assert.Equal(Decisions[manifest], Serializer.FromBinary(Golden[manifest], manifest));
    }

    [Fact]
    public void A_journal_of_the_first_release_is_read_and_its_run_goes_on()
    {
        RunDecision[] decisions = [.. new[] { "submitted:v1", "generation-formed:v1" }.Select(manifest => (RunDecision)Serializer.FromBinary(Golden[manifest], manifest))];

        var state = decisions.Aggregate(CoordinatorState.Empty, CoordinatorProtocol.Apply);

        Assert.Equal(FirstSpec, state.Spec);
        Assert.Equal((Plan.Number, null, true, RunPhase.Recovering), (state.LastGeneration, state.Reference, state.NumericsDiffer, state.Phase));
        Assert.Equal(Plan.Members, state.Generation!.Members);
    }

    [Fact]
    public void Messages_between_coordinators_come_back_as_they_were()
    {
        object[] messages =
        [
            new SubmitRun(Spec),
            new WatchRun("run-1"),
            new WakeRun("run-1"),
            new OfferWorker("run-1", "c1", new Hello { Worker = "w1", ProcessId = 7 }),
            new StillLinked("run-1", "w1", "c1"),
            new ForwardFromWorker("run-1", "w1", "c1", new FromWorker { Heartbeat = new Heartbeat { Step = 3 } }),
            new ReportLostWorker("run-1", "w1", "c1", "gone"),
            new ReportSilentWorker("run-1", "w1", "c1"),
            new StopRun("run-1", "Ctrl-C"),
            new QueryRun("run-1"),
            new RunStatus("run-1", RunPhase.Ended, 2, 7, "/output/checkpoint-7"),
            new RunStatus("run-1", RunPhase.Idle, 0, null, null),
            new RunHappened("run-1", new RunFinished(3, double.NaN, null, "ab", "/output")),
            new WatchRefused("run-1", "unknown"),
            new DeliverToWorker(new FromCoordinator { Goodbye = new Goodbye { Reason = "over" } }),
            CloseStream.Instance,
            ProveAlive.Instance,
            new ProvedAlive("w1", "c1"),
            new TurnAway("twice", 2),
            new OpenRun("run-1", 2, "c0", "/corpus"),
            new CloseRun("run-1"),
            new SubmitFederation(Federated, "{}", "/output"),
            new FederationHome("{}", "/output"),
            new FederationStatus("fed-1", RoundPhase.Ended, 3, "ab", "finished"),
            new OpenFederation("fed-1"),
            new CloseFederation("fed-1", IsOver: true, "the run is finished", 0),
            new RunHappened("fed-1", new FederationFinished(3, "ab", 0.5, null, null)),
            new BudgetGranted(new RoundKey(2, 1), 1.5),
            new ModelCommitted(new RoundKey(2, 1), new ModelVersion(2, new string('b', 64)), 0.25),
            new FederationEnded(new FederationStopped(2, new string('b', 64), "Ctrl-C")),
        ];

        Assert.All(messages, message => Assert.Equal(message, Serializer.FromBinary(Serializer.ToBinary(message), Serializer.Manifest(message))));
    }

    [Fact]
    public void An_unknown_manifest_is_refused_by_name()
    {
        var error = Assert.Throws<SerializationException>(() => Serializer.FromBinary([0x90], "finished:v9"));

        Assert.Contains("finished:v9", error.Message);
    }

    [Fact]
    public async Task Nothing_without_a_manifest_may_travel_and_the_polymorphic_serializer_is_gone()
    {
        await using var coordinator = await TestCoordinator.StartAsync();
        var (system, _) = await coordinator.Host.Actors;
        var serialization = ((ExtendedActorSystem)system).Serialization;

        Assert.ThrowsAny<Exception>(() => serialization.FindSerializerFor(new Version(1, 0)));
        Assert.ThrowsAny<Exception>(() => serialization.Deserialize([(byte)'1'], serializerId: 1, typeof(Version)));
        Assert.IsType<CoordinatorSerializer>(serialization.FindSerializerFor(new QueryRun("run-1")));
    }

    public async ValueTask DisposeAsync() => await _system.Terminate();
}
