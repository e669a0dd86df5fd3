using System.Text;
using Sora.Protocol.Blocks;
using Sora.Protocol.Generations;
using Sora.Protocol.Jobs;
using Sora.Protocol.Runs;

// Each test has an actor system of its own; several starting at once only slow each other down.
[assembly: CollectionBehavior(DisableTestParallelization = true)]

namespace Sora.Coordinator.Tests;

/// <summary>A coordinator in a temporary folder, and submissions for it.</summary>
internal sealed class TestCoordinator : IAsyncDisposable
{
    private CoordinatorOptions _options;

    private TestCoordinator(string folder, CoordinatorOptions options) => (Folder, _options) = (folder, options);

    public string Folder { get; }

    public CoordinatorHost Host { get; private set; } = null!;

    public static async Task<TestCoordinator> StartAsync(Func<CoordinatorOptions, CoordinatorOptions>? change = null)
    {
        var folder = Directory.CreateTempSubdirectory("sora-coordinator-").FullName;
        var options = new CoordinatorOptions { StateDir = folder, CorpusPatience = TimeSpan.FromMilliseconds(100) };
        var coordinator = new TestCoordinator(folder, change?.Invoke(options) ?? options);
        await coordinator.StartHostAsync();
        return coordinator;
    }

    /// <summary>Ends in good order and starts again, on the same address.</summary>
    public async Task RestartAsync()
    {
        await Host.DisposeAsync();
        await StartAgainAsync();
    }

    /// <summary>Dies without a word and starts again, on the same address.</summary>
    public async Task CrashAsync()
    {
        await Host.CrashAsync();
        await StartAgainAsync();
    }

    public static RunSubmission Submission(string run, int workers = 2, TrainingJob? job = null) => new()
    {
        Run = run,
        Job = job ?? new TrainingJob { Name = "test", Lanes = 4, MaxSteps = 3 },
        JobJson = "{}",
        CorpusHash = "corpus",
        CorpusDir = "/corpus",
        Pieces = new MemoryPieces(),
        OutputDir = "/output",
        Workers = workers,
        Parameters = 10,
    };

    /// <summary>Ends a wait that would never end, so that the test fails by name.</summary>
    public static CancellationTokenSource Patience()
    {
        var patience = CancellationTokenSource.CreateLinkedTokenSource(TestContext.Current.CancellationToken);
        patience.CancelAfter(TimeSpan.FromMinutes(1));
        return patience;
    }

    public static Task<List<RunEvent>> ToEndAsync(RunHandle run) => ToEndAsync(run.Events);

    public static async Task<List<RunEvent>> ToEndAsync(IAsyncEnumerable<RunEvent> run)
    {
        using var patience = Patience();
        var events = new List<RunEvent>();
        await foreach (var happened in run.WithCancellation(patience.Token))
            events.Add(happened);
        return events;
    }

    /// <summary>Waits until a run stands there.</summary>
    public static async Task ReachesAsync(CoordinatorHost host, string run, RunPhase phase)
    {
        using var patience = Patience();
        while ((await host.QueryAsync(run, patience.Token)).Phase != phase)
            await Task.Delay(10, patience.Token);
    }

    /// <summary>Waits until the newest checkpoint is of a step.</summary>
    public static async Task CheckpointIsAsync(CoordinatorHost host, string run, long step)
    {
        using var patience = Patience();
        while ((await host.QueryAsync(run, patience.Token)).CheckpointStep != step)
            await Task.Delay(10, patience.Token);
    }

    /// <summary>Waits until the coordinator has heard that all members compute.</summary>
    public Task AllComputeAsync(string run) => ReachesAsync(Host, run, RunPhase.Running);

    public async ValueTask DisposeAsync()
    {
        await Host.DisposeAsync();
        Directory.Delete(Folder, recursive: true);
    }

    private Task StartAgainAsync()
    {
        _options = _options with { ListenUrl = Host.Address, Token = Host.Token };
        return StartHostAsync();
    }

    private async Task StartHostAsync() => Host = await CoordinatorHost.StartAsync(_options, TestContext.Current.CancellationToken);
}

/// <summary>Two pieces under made-up names.</summary>
internal sealed class MemoryPieces : IPieceSource
{
    private readonly Dictionary<string, byte[]> _pieces = new() { ["aa"] = Encoding.UTF8.GetBytes("first"), ["bb"] = Encoding.UTF8.GetBytes("second") };

    public ReadOnlyMemory<byte> Manifest { get; } = Encoding.UTF8.GetBytes("{\"manifest\":1}");

    public ValueTask<ReadOnlyMemory<byte>?> ReadAsync(string sha256, CancellationToken cancellationToken) =>
        ValueTask.FromResult<ReadOnlyMemory<byte>?>(_pieces.TryGetValue(sha256, out var piece) ? (ReadOnlyMemory<byte>)piece : (ReadOnlyMemory<byte>?)null);
}
