using Sora.Federation.Rounds;

namespace Sora.Federation.Tests.Rounds.Simulation;

/// <summary>A site: the real state machine in a shell, with a journal that survives it, and a line to the coordinator that it dials itself.</summary>
internal sealed class SimulatedSite(Simulation world, string name)
{
    private readonly List<RoundSiteDecision> _journal = [];
    private int _life;
    private int _retry;
    private int _trainings;
    private bool _linked;
    private string _unfit = "";

    public string Name => name;

    public RoundSiteState State { get; private set; } = new(world.Schedule.Run.Run, name);

    /// <summary>Number of its stream; 0: there was none yet.</summary>
    public int Link { get; private set; }

    public bool Alive { get; private set; }

    /// <summary>It was sent away, wants to leave, or its policy forbids the job: only its owner can change that.</summary>
    public bool OutOfIt => State.Phase == RoundSitePhase.Left || State.Draining || _unfit.Length > 0;

    public void Start()
    {
        if (Alive)
            return;
        (Alive, _unfit) = (true, "");
        State = _journal.Aggregate(new RoundSiteState(world.Schedule.Run.Run, name), world.Rules.ApplyAtSite);
        world.Note($"{this} starts");
        Dial();
    }

    public void Kill(string reason)
    {
        if (!Alive)
            return;
        world.Note($"{this} dies: {reason}");
        Alive = false;
        _life++;
        Unlink("the site is gone");
        world.After(world.Random.Next(100, 20_000), Start);
    }

    public void Restart()
    {
        Kill("its owner starts it again");
        Start();
    }

    public void RestartIfOutOfIt()
    {
        if (OutOfIt && world.Coordinator.State.Phase != RoundPhase.Ended)
            Restart();
    }

    /// <summary>Both ends notice, each in its time.</summary>
    public void Unlink(string reason)
    {
        if (!_linked)
            return;
        _linked = false;
        var link = Link;
        world.After(world.Random.Next(100, 3_000), () =>
        {
            if (Link == link)
                world.Coordinator.Happen(new SiteLost(name, reason));
        });
        Later(world.Random.Next(50, 2_000), Dial);
    }

    public void Hear(ToSite message)
    {
        if (Alive)
            Happen(new CoordinatorSaid(message));
    }

    public void Happen(RoundSiteEvent happened)
    {
        if (!Alive)
            return;
        var (state, effects) = world.Rules.Site(State, happened);
        foreach (var decision in effects.OfType<JournalSite>().Select(record => record.Decision))
        {
            if (Crashes())
                return;
            _journal.Add(decision);
            world.Invariants.JournaledAtSite(this, decision);
        }
        if (world.Tracing && State.Phase != state.Phase)
            world.Note($"{this}: {state.Phase} {state.Round?.Round.ToString() ?? ""}");
        State = state;
        foreach (var effect in effects)
        {
            if (Crashes())
                return;
            Perform(effect);
        }
    }

    public override string ToString() => name;

    private bool Crashes()
    {
        if (!world.Chance(Fault.CrashWhileJournaling, 0.002))
            return false;
        Kill("crash in the middle of a turn");
        return true;
    }

    private void Dial()
    {
        if (_linked || State.Phase == RoundSitePhase.Left)
            return;
        if (!world.Coordinator.Alive || !world.Reaches(this))
        {
            Later(world.Random.Next(200, 1_500), Dial);
            return;
        }
        _linked = true;
        Link++;
        Happen(new CoordinatorReached($"{name}/{_life}", _unfit));
    }

    private void Perform(RoundSiteEffect effect)
    {
        switch (effect)
        {
            // The first word of a stream is there, or there is no stream.
            case TellCoordinator { Message: SiteHello hello }:
                var link = Link;
                world.After(world.Random.Next(1, 20), () =>
                {
                    if (_linked && Link == link)
                        world.Coordinator.Hear(this, hello);
                });
                break;
            case TellCoordinator tell:
                if (tell.Message is UpdateOffered offered)
                    world.Invariants.Offered(this, offered.Offer.Id);
                world.Send(this, tell.Message, () => world.Coordinator.Hear(this, tell.Message));
                break;
            case AskPolicy ask: Later(world.Random.Next(1, 50), () => Happen(Decide(ask.Round))); break;
            case TrainLocally train: Train(train.Round); break;
            case SendUpdate send:
                for (var chunk = send.NextChunk; chunk < world.Schedule.Run.Chunks.Chunks; chunk++)
                {
                    var sent = chunk;
                    world.Send(this, sent, () => world.Coordinator.HearChunk(send.Offer, sent));
                }
                break;
            case AnswerStage answer: Later(world.Random.Next(1, 200), () => Happen(new StageSent(answer.Round, answer.Stage))); break;
            case EvaluateLocally evaluate: Later(world.Random.Next(50, 2_000), () => Happen(new LocalEvaluationDone(evaluate.Model.Number, 1.0 / evaluate.Model.Number, 10))); break;
            case StartRetry:
                var retry = ++_retry;
                Later(world.Random.Next(1_000, 4_000), () =>
                {
                    if (retry == _retry)
                        Happen(new RetryDue());
                });
                break;
        }
    }

    private PolicyDecided Decide(RoundAnnounced round)
    {
        if (_unfit.Length > 0)
            return new PolicyDecided(round.Round, _unfit, true);
        if (!world.Chance(Fault.RefuseRound, 0.15))
            return new PolicyDecided(round.Round, "", false);
        var forJob = !world.Schedule.Exact && world.Random.Next(4) == 0;
        _unfit = forJob ? "rule jobs: this job is not on the list" : "";
        return new PolicyDecided(round.Round, forJob ? _unfit : "rule hours: closed on Sundays", forJob);
    }

    private void Train(RoundAnnounced round)
    {
        var noise = world.Schedule.Fickle ? ++_trainings : 0;
        var slowest = world.Schedule.SlowestTraining * (world.Chance(Fault.SlowSite, 0.3) ? 15 : 1);
        Later(world.Random.Next(slowest / 2, slowest), () =>
        {
            if (world.Chance(Fault.FailTraining, 0.1))
                Happen(new LocalRoundFailed(round.Round, "the device is out of memory"));
            else
                Happen(new LocalRoundTrained(new UpdateOffer(new UpdateId(round.Round, name, StandInModel.Update(name, round.Model, noise)), 40, StandInModel.Weight(name), 1.0 / round.Round.Round)));
        });
    }

    private void Later(long milliseconds, Action happening)
    {
        var life = _life;
        world.After(milliseconds, () =>
        {
            if (Alive && life == _life)
                happening();
        });
    }
}
