using CsCheck;
using Google.Protobuf;
using Sora.Protocol.Api;
using Sora.Protocol.Generations;
using Sora.Protocol.Jobs;
using Sora.Protocol.Runs;
using static Sora.Protocol.Tests.Generations.CoordinatorScene;

namespace Sora.Protocol.Tests.Generations;

/// <summary>Whole runs with honest workers, where chance decides order, repetition, staleness and accidents.</summary>
public sealed class CoordinatorProtocolPropertyTests
{
    private const long LastStep = 4;

    private static readonly Gen<int[]> Chances = Gen.Int[0, 9_999].Array[20, 200];

    private static readonly Gen<(int Workers, int Lanes, int[] Chances)> Plays =
        Gen.Select(Gen.Int[1, 5], Gen.Int[0, 5], Chances, (workers, more, chances) => (workers, workers + more, chances));

    [Fact]
    public void Reordered_repeated_and_stale_messages_do_not_keep_a_run_from_finishing() => Plays.Sample(play =>
    {
        var game = new Game(play.Workers, play.Lanes, accidents: false);
        game.Play(play.Chances);
        game.PlayOut();
        Assert.IsType<RunFinished>(game.Scene.Outcome);
        game.Verify();
    });

    [Fact]
    public void Whatever_happens_the_promises_hold() => Plays.Sample(play =>
    {
        var game = new Game(play.Workers, play.Lanes, accidents: true);
        game.Play(play.Chances);
        game.PlayOut();
        game.Verify();
    });

    private sealed class Game
    {
        private readonly bool _accidents;
        private readonly List<CoordinatorEvent> _inFlight = [];
        private readonly HashSet<string> _ready = [];
        private readonly Dictionary<string, string> _finished = [];
        private readonly HashSet<string> _refused = [];

        public Game(int workers, int lanes, bool accidents)
        {
            _accidents = accidents;
            Scene = new CoordinatorScene(workers, lanes);
            for (var i = 1; i <= workers; i++)
                _inFlight.Add(new WorkerArrived(HelloOf($"w{i}")));
        }

        public CoordinatorScene Scene { get; }

        public void Play(int[] chances)
        {
            foreach (var chance in chances)
            {
                var happened = Choose(chance % 100, chance / 100);
                if (happened is not null)
                    Deliver(happened);
            }
        }

        /// <summary>Delivers what is left, then lets every timer run out.</summary>
        public void PlayOut()
        {
            while (_inFlight.Count > 0)
                Deliver(Take(0));
            if (!_accidents)
                return;
            foreach (var timer in Enum.GetValues<RunTimer>())
                Deliver(new TimerFired(timer, TimeSpan.FromSeconds(1)));
            for (var i = 1; i <= Scene.State.Spec!.Workers; i++)
                Deliver(new WorkerLost($"w{i}", "it closed its connection."));
        }

        public void Verify()
        {
            Assert.Equal(RunPhase.Ended, Scene.State.Phase);
            Assert.Single(Scene.Events, happened => happened is RunFinished or RunStopped or RunFailed);
            Assert.Same(Scene.Outcome, Scene.Events.Last());
            var steps = Scene.Events.OfType<StepCommitted>().Select(step => step.Step).ToList();
            Assert.Equal(steps.Distinct().Order(), steps);

            var recovered = Scene.Effects.OfType<RecordDecision>().Aggregate(CoordinatorState.Empty, (state, record) => CoordinatorProtocol.Apply(state, record.Decision));
            Assert.Equal((Scene.State.Phase, Scene.State.LastGeneration, Scene.State.Outcome), (recovered.Phase, recovered.LastGeneration, recovered.Outcome));
            Assert.Equal(Scene.State.Checkpoint, recovered.Checkpoint);
        }

        private CoordinatorEvent? Choose(int kind, int pick)
        {
            var worker = $"w{(pick % Scene.State.Spec!.Workers) + 1}";
            return kind switch
            {
                < 60 => _inFlight.Count > 0 ? Take(pick % _inFlight.Count) : null,
                < 75 => _inFlight.Count > 0 ? _inFlight[pick % _inFlight.Count] : null,
                < 85 => new WorkerSaid(worker, Stale(pick)),
                _ when !_accidents => null,
                < 88 => new WorkerLost(worker, "it closed its connection."),
                < 91 => new WorkerSaid(worker, FailedOf(1, "a peer is gone", peerLost: true)),
                < 93 => new WorkerSaid(worker, FailedOf(1, "out of memory", peerLost: false)),
                < 95 => new StopRequested("Ctrl-C"),
                < 97 => new WorkerSaid(worker, FinishedOf(1, LastStep, "flipped")),
                _ => new TimerFired((RunTimer)(pick % 4), TimeSpan.FromSeconds(1)),
            };
        }

        private static FromWorker Stale(int pick) => (pick % 5) switch
        {
            0 => ReadyOf(7, 0),
            1 => FinishedOf(0, LastStep, "old"),
            2 => new FromWorker { Canary = new CanaryResult { Run = "old run", Sha256 = "old" } },
            3 => StoppedOf(7, 1, "/old"),
            _ => new FromWorker { Failed = new Failed { Run = "old run", Generation = 1, Message = "old" } },
        };

        private CoordinatorEvent Take(int index)
        {
            var taken = _inFlight[index];
            _inFlight.RemoveAt(index);
            return taken;
        }

        private void Deliver(CoordinatorEvent happened)
        {
            var before = Scene.State;
            var effects = Scene.Happen(happened);
            if (before.Phase == RunPhase.Ended)
                Assert.Empty(effects);
            Learn(before, happened);
            foreach (var effect in effects)
                Obey(effect);
        }

        private void Learn(CoordinatorState before, CoordinatorEvent happened)
        {
            if (happened is not WorkerSaid said || before.Generation is null)
                return;
            if (said.Message.Ready is { Generation: 1 } && before.Phase == RunPhase.AwaitingReady)
                _ready.Add(said.Worker);
            if (said.Message.Finished is { Generation: 1 } finished && before.Phase is (RunPhase.Running or RunPhase.Finishing or RunPhase.Stopping))
                _finished.TryAdd(said.Worker, finished.WeightsSha256);
        }

        private void Obey(CoordinatorEffect effect)
        {
            switch (effect)
            {
                case DrawSecret draw:
                    _inFlight.Add(new SecretDrawn(draw.Generation, ByteString.CopyFrom((byte)draw.Generation)));
                    break;
                case Publish { Event: RunFinished }:
                    Assert.Equal(Scene.State.Workers.Keys, _finished.Keys.Order(StringComparer.Ordinal));
                    Assert.Single(_finished.Values.Distinct());
                    break;
                case TellWorker tell:
                    Obey(tell.Worker, tell.Message);
                    break;
            }
        }

        private void Obey(string worker, FromCoordinator message)
        {
            switch (message.BodyCase)
            {
                case FromCoordinator.BodyOneofCase.Assignment:
                    _inFlight.Add(new WorkerSaid(worker, CanaryOf(worker, _accidents && worker == "w5" ? "odd" : "even")));
                    break;
                case FromCoordinator.BodyOneofCase.Refused:
                    _refused.Add(worker);
                    break;
                case FromCoordinator.BodyOneofCase.Generation:
                    Assert.DoesNotContain(message.Generation.Members, member => _refused.Contains(member.Worker));
                    var lanes = message.Generation.Members.SelectMany(member => Enumerable.Range((int)member.FirstLane, (int)member.LaneCount));
                    Assert.Equal(Enumerable.Range(0, Scene.State.Spec!.Lanes), lanes);
                    _inFlight.Add(new WorkerSaid(worker, ReadyOf(1, 0)));
                    break;
                case FromCoordinator.BodyOneofCase.Start:
                    Assert.Equal(Scene.State.Workers.Keys, _ready.Order(StringComparer.Ordinal));
                    for (var step = 1L; step <= LastStep; step++)
                        _inFlight.Add(new WorkerSaid(worker, StepOf(1, step)));
                    _inFlight.Add(new WorkerSaid(worker, CheckpointOf(1, 2)));
                    _inFlight.Add(new WorkerSaid(worker, FinishedOf(1, LastStep, "weights")));
                    break;
                case FromCoordinator.BodyOneofCase.Stop:
                    _inFlight.Add(new WorkerSaid(worker, StoppedOf(1, 3, worker == "w1" ? "/output/checkpoint-3" : "")));
                    break;
            }
        }
    }
}
