using System.Net;
using Microsoft.Extensions.Logging.Abstractions;
using Sora.Model.Training;
using Sora.Protocol.Generations;
using Sora.Protocol.Jobs;
using Sora.Worker.Exchange;
using Sora.Worker.Work;

namespace Sora.Worker.Tests.Work;

/// <summary>A worker of a run in this process, over real sockets: all of it but its session.</summary>
internal sealed class Member : IWorkReports, IDisposable
{
    private readonly TrainingThread _training = new();
    private readonly ExchangeListener _listener = new(null, IPAddress.Loopback);
    private readonly IRunWork _work;
    private readonly Proof _proof;
    private Action<long> _afterStep = _ => { };

    public Member(SmallCorpus small, string name, string output, TrainingJob job, Func<IRunWork, IRunWork>? around = null)
    {
        Name = name;
        _work = around?.Invoke(small.Work()) ?? small.Work();
        _proof = _training.RunAsync(() => _work.Prove(small.Assignment(small.Corpus.Folder, output, job), TestContext.Current.CancellationToken)).GetAwaiter().GetResult();
    }

    public string Name { get; }

    public IReadOnlyList<string> Endpoints => _listener.Endpoints;

    public List<StepResult> Steps { get; } = [];

    public List<(long Step, string Path)> Checkpoints { get; } = [];

    public GenerationWork Work(WorkerGeneration generation) => new(
        generation, generation.Members.Select(member => member.Worker).ToList().IndexOf(Name), _proof, _work, _training, _listener, this, TimeProvider.System, NullLogger.Instance);

    public async Task<WorkerEvent.TrainingFinished> Run(WorkerGeneration generation) =>
        Assert.IsType<WorkerEvent.TrainingFinished>(await JoinAndTrain(Work(generation)));

    public async Task Halt(WorkerGeneration generation, long after)
    {
        var work = Work(generation);
        _afterStep = step => { if (step == after - 1) work.HaltAfterStep(); };
        Assert.Equivalent(new WorkerEvent.WorkHalted(generation.Number, after, "", []), await JoinAndTrain(work));
    }

    public async Task<WorkerEvent.WorkHalted> HaltAtOnce(WorkerGeneration generation, long after)
    {
        var work = Work(generation);
        _afterStep = step => { if (step == after) work.BreakOff("it was told to"); };
        return Assert.IsType<WorkerEvent.WorkHalted>(await JoinAndTrain(work));
    }

    public async Task<WorkerEvent.WorkHalted> Broken(WorkerGeneration generation) =>
        Assert.IsType<WorkerEvent.WorkHalted>(await JoinAndTrain(Work(generation)));

    public void Committed(long step, double computeSeconds, double waitSeconds) => _afterStep(step);

    public void StateHash(long step, string hash) => Assert.Fail("it is not due");

    public void Step(StepResult step) => Steps.Add(step);

    public void Evaluation(EvaluationResult evaluation) => Assert.Fail("there is nothing held out");

    public void Checkpoint(long step, string path, string weightsSha256, TimeSpan duration)
    {
        Assert.True(Directory.Exists(path));
        Checkpoints.Add((step, path));
    }

    public void NoCheckpoint(long step, string reason) => Assert.Fail(reason);

    public void Warning(string message) => Assert.Fail(message);

    public void Dispose()
    {
        _training.RunAsync(() =>
        {
            _work.Dispose();
            return true;
        }).GetAwaiter().GetResult();
        _training.Dispose();
        _listener.Dispose();
    }

    public async Task<WorkerEvent?> JoinAndTrain(GenerationWork work)
    {
        var joined = await work.JoinAsync();
        return joined is WorkerEvent.Joined ? await work.TrainAsync() : joined;
    }
}
