[assembly: AssemblyFixture(typeof(Sora.Cluster.Tests.FaultJobs))]

namespace Sora.Cluster.Tests;

/// <summary>The jobs that faults are done to. What becomes of each undisturbed is computed once, for all tests.</summary>
public sealed class FaultJobs : IDisposable
{
    public FaultJobs()
    {
        Quick = new FaultJob(this, Training.WriteJob("decoder", "weight_decay: 0").LastingFor(500).WithHeadOfItsOwn());
        Lasting = new FaultJob(this, Training.WriteJob("decoder", "weight_decay: 0").LastingFor(2500).WithHeadOfItsOwn());
        Heavy = new FaultJob(this, Training.WriteJob("decoder").LastingFor(60).OfManyWeights());
    }

    public TrainingFixture Training { get; } = new();

    /// <summary>Steps of a few milliseconds.</summary>
    internal FaultJob Quick { get; }

    /// <summary>The same, until a coordinator that was killed is a member of its cluster again.</summary>
    internal FaultJob Lasting { get; }

    /// <summary>A state of 40 MB: computing, exchanging, transferring and saving take so long that something can happen meanwhile.</summary>
    internal FaultJob Heavy { get; }

    public void Dispose() => Training.Dispose();
}

/// <summary>A job and what becomes of it undisturbed.</summary>
internal sealed class FaultJob
{
    private readonly FaultJobs _jobs;
    private readonly Lazy<Task<Undisturbed>> _undisturbed;

    public FaultJob(FaultJobs jobs, string path)
    {
        (_jobs, Path) = (jobs, path);
        _undisturbed = new Lazy<Task<Undisturbed>>(() => Undisturbed.OfAsync(Path, _jobs.Training.NewOutput()));
    }

    public string Path { get; }

    /// <summary>Computed at the first call. It also prepares the corpus, which would count as a fault's delay otherwise.</summary>
    public Task<Undisturbed> UndisturbedAsync() => _undisturbed.Value;

    public async Task<FaultRun> StartAsync(params string[] arguments)
    {
        await UndisturbedAsync();
        return FaultRun.Start(Path, _jobs.Training.NewOutput(), arguments);
    }
}
