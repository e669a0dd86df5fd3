using System.Text;
using Sora.Protocol.Blocks;
using Sora.Protocol.Jobs;
using Sora.Protocol.Runs;

// Each test has an actor system of its own; several starting at once only slow each other down.
[assembly: CollectionBehavior(DisableTestParallelization = true)]

namespace Sora.Coordinator.Tests;

/// <summary>A coordinator in a temporary folder, and submissions for it.</summary>
internal sealed class TestCoordinator : IAsyncDisposable
{
    private TestCoordinator(string folder) => Folder = folder;

    public string Folder { get; }

    public CoordinatorHost Host { get; private set; } = null!;

    public static async Task<TestCoordinator> StartAsync(Func<CoordinatorOptions, CoordinatorOptions>? change = null)
    {
        var coordinator = new TestCoordinator(Directory.CreateTempSubdirectory("sora-coordinator-").FullName);
        await coordinator.StartHostAsync(change);
        return coordinator;
    }

    public async Task RestartAsync()
    {
        await Host.DisposeAsync();
        await StartHostAsync(null);
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

    public static async Task<List<RunEvent>> ToEndAsync(RunHandle run)
    {
        using var patience = Patience();
        var events = new List<RunEvent>();
        await foreach (var happened in run.Events.WithCancellation(patience.Token))
            events.Add(happened);
        return events;
    }

    public async ValueTask DisposeAsync()
    {
        await Host.DisposeAsync();
        Directory.Delete(Folder, recursive: true);
    }

    private async Task StartHostAsync(Func<CoordinatorOptions, CoordinatorOptions>? change)
    {
        var options = new CoordinatorOptions { StateDir = Folder };
        Host = await CoordinatorHost.StartAsync(change?.Invoke(options) ?? options, TestContext.Current.CancellationToken);
    }
}

/// <summary>Two pieces under made-up names.</summary>
internal sealed class MemoryPieces : IPieceSource
{
    private readonly Dictionary<string, byte[]> _pieces = new() { ["aa"] = Encoding.UTF8.GetBytes("first"), ["bb"] = Encoding.UTF8.GetBytes("second") };

    public ReadOnlyMemory<byte> Manifest { get; } = Encoding.UTF8.GetBytes("{\"manifest\":1}");

    public ValueTask<ReadOnlyMemory<byte>?> ReadAsync(string sha256, CancellationToken cancellationToken) =>
        ValueTask.FromResult<ReadOnlyMemory<byte>?>(_pieces.TryGetValue(sha256, out var piece) ? (ReadOnlyMemory<byte>)piece : (ReadOnlyMemory<byte>?)null);
}
