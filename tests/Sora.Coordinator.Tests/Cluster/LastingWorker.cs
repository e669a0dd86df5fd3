using System.Collections.Concurrent;
using Grpc.Core;
using Sora.Protocol.Api;

namespace Sora.Coordinator.Tests.Cluster;

/// <summary>
/// A worker that computes in a generation and stays: whenever its stream breaks it dials the next coordinator and says where it
/// stands. What it is told, but for goodbye, it keeps for the test.
/// </summary>
internal sealed class LastingWorker(FakeWorker first, Generation generation, Func<IReadOnlyList<CoordinatorHost>> hosts)
{
    private readonly string _id = first.Id;
    private FakeWorker _stream = first;
    private long _step;
    private bool _finished;

    public ConcurrentQueue<FromCoordinator> Heard { get; } = [];

    public int Dialled { get; private set; }

    /// <summary>Until it is dismissed.</summary>
    public async Task StayAsync()
    {
        using var patience = TestCoordinator.Patience();
        for (var turn = 0; ; turn++)
        {
            using var beating = CancellationTokenSource.CreateLinkedTokenSource(patience.Token);
            var heart = BeatAsync(_stream, beating.Token);
            try
            {
                while (await _stream.TryHearAsync() is { } message)
                {
                    if (message.Goodbye is not null)
                        return;
                    Heard.Enqueue(message);
                }
            }
            catch (RpcException)
            {
                // Broken: dial again.
            }
            finally
            {
                await beating.CancelAsync();
                await heart;
                await _stream.DisposeAsync();
            }
            await Task.Delay(100, patience.Token);
            await DialAsync(turn);
        }
    }

    public async Task StepAsync(long step)
    {
        _step = step;
        await SayAsync(worker => worker.StepAsync(generation, (ulong)step));
    }

    public async Task FinishAsync(bool saves)
    {
        (_step, _finished) = (3, true);
        await SayAsync(worker => saves ? worker.FinishRunAsync(generation) : worker.FinishAsync(generation, 3, "weights"));
    }

    private async Task DialAsync(int turn)
    {
        var candidates = hosts();
        Dialled++;
        await SayAsync(async _ =>
        {
            _stream = await FakeWorker.DialAsync(candidates[turn % candidates.Count], _id, FakeWorker.Training(generation, _id, _step));
            if (_finished)
                await _stream.FinishAsync(generation, 3, "weights");
        });
    }

    private async Task SayAsync(Func<FakeWorker, Task> say)
    {
        try
        {
            await say(_stream);
        }
        catch (Exception exception) when (exception is RpcException or InvalidOperationException or ObjectDisposedException)
        {
            // What the broken stream swallows the standing says again.
        }
    }

    private async Task BeatAsync(FakeWorker stream, CancellationToken stop)
    {
        using var timer = new PeriodicTimer(TimeSpan.FromSeconds(1));
        try
        {
            while (await timer.WaitForNextTickAsync(stop))
                await SayAsync(_ => stream.BeatAsync());
        }
        catch (OperationCanceledException)
        {
            // Enough.
        }
    }
}
