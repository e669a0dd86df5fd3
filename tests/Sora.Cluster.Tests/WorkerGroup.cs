namespace Sora.Cluster.Tests;

/// <summary>Workers that a test starts itself, and that say on stderr what they are doing.</summary>
internal sealed class WorkerGroup(params string[] coordinators) : IDisposable
{
    private readonly List<SoraProcess> _ended = [];
    private readonly Dictionary<string, SoraProcess> _present = new(StringComparer.Ordinal);

    /// <summary>The present process of a name.</summary>
    public SoraProcess this[string name] => _present[name];

    public IEnumerable<SoraProcess> All => _present.Values;

    private static CancellationToken Deadline => TestContext.Current.CancellationToken;

    /// <summary>Starts a worker, or another process for a name whose process is dead.</summary>
    /// <param name="name">Its name.</param>
    /// <param name="others">How it reaches its coordinators, if not as all do.</param>
    public SoraProcess Start(string name, params string[] others)
    {
        if (_present.Remove(name, out var before))
            _ended.Add(before);
        return _present[name] = SoraProcess.Start(["worker", "--name", name, "--log-level", "debug", .. others is [] ? coordinators : others]);
    }

    /// <summary>All of them commit so many steps from now on.</summary>
    public Task CommitAsync(int steps) => Task.WhenAll(All.Select(worker => CommitAsync(worker, steps)));

    /// <summary>One of them does.</summary>
    public static async Task CommitAsync(SoraProcess worker, int steps)
    {
        var after = worker.Log.Count;
        for (var step = 0; step < steps; step++)
            after = (await worker.LogAsync(WorkerLog.Committed, after)).Number;
    }

    /// <summary>All have ended well.</summary>
    public async Task EndAsync()
    {
        foreach (var worker in All)
        {
            var end = await worker.EndAsync(Deadline);
            Assert.True(end.ExitCode == 0, end.ToString());
        }
    }

    public void Dispose()
    {
        foreach (var worker in _ended.Concat(All))
            worker.Dispose();
    }
}

/// <summary>Numbers of the log lines by which a worker shows what it is about to do.</summary>
internal static class WorkerLog
{
    /// <summary>It goes from one phase to another.</summary>
    public const int Phase = 2000;

    /// <summary>A step is committed; the next one is computed.</summary>
    public const int Committed = 2004;

    /// <summary>A step is computed and exchanged now.</summary>
    public const int Exchanging = 2110;

    /// <summary>A step is exchanged and committed now.</summary>
    public const int Exchanged = 2111;

    /// <summary>A checkpoint is written now.</summary>
    public const int Saving = 2210;

    /// <summary>It is a member of a generation and connects.</summary>
    public const int Joining = 2300;

    /// <summary>The state is taken from the memory of others now.</summary>
    public const int TakingOver = 2303;
}
