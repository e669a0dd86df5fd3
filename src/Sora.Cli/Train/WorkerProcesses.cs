using System.ComponentModel;
using System.Threading.Channels;
using Sora.Cli.Display;
using Sora.Protocol.Jobs;
using Sora.Protocol.Runs;

namespace Sora.Cli.Train;

/// <summary>
/// The worker processes of this machine: the same program, started as <c>sora worker start</c>, and again when one dies. What
/// they write to stderr goes to a file each. They end by themselves when this program is gone; ending them here as well covers
/// one that hangs.
/// </summary>
internal sealed class WorkerProcesses : IDisposable
{
    /// <summary>Environment variable that carries the coordinator's token: arguments can be read by every user of a machine.</summary>
    public const string TokenVariable = "SORA_WORKER_TOKEN";

    private readonly List<Worker> _workers = [];
    private readonly List<Task> _keeping = [];
    private readonly Channel<RunEvent> _news = Channel.CreateUnbounded<RunEvent>();
    private readonly CancellationTokenSource _over = new();
    private readonly Lock _one = new();
    private readonly RestartPolicy _policy;
    private readonly TimeProvider _clock;

    private WorkerProcesses(RestartPolicy policy, TimeProvider clock) => (_policy, _clock) = (policy, clock);

    /// <summary>Workers that were started again, and those that are down for good.</summary>
    public ChannelReader<RunEvent> News => _news.Reader;

    /// <summary>The workers.</summary>
    public IReadOnlyList<Worker> All => _workers;

    /// <summary>Workers that run, or will again.</summary>
    public int Standing => _workers.Count(worker => !worker.IsDown);

    /// <summary>Starts workers.</summary>
    /// <exception cref="SoraException">They cannot be started.</exception>
    public static WorkerProcesses Start(int count, WorkerLaunch launch, int? maxRestarts, TimeProvider clock)
    {
        var processes = new WorkerProcesses(new RestartPolicy(maxRestarts), clock);
        try
        {
            Directory.CreateDirectory(launch.Logs);
            for (var index = 0; index < count; index++)
            {
                var worker = new Worker(launch, index);
                processes._workers.Add(worker);
                var first = worker.RunAsync();
                if (first.IsFaulted) first.GetAwaiter().GetResult();
                processes._keeping.Add(processes.KeepAsync(worker, first));
            }
            return processes;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or Win32Exception)
        {
            processes.Dispose();
            throw new SoraException($"The worker processes cannot be started: {e.Message}", ExitCode.Failure, e);
        }
    }

    /// <summary>The worker of this machine that bears a name; null for one of elsewhere.</summary>
    public Worker? Find(string name) => _workers.Find(worker => worker.Name == name);

    /// <summary>Workers took part in a step.</summary>
    public void Succeeded(IEnumerable<string> workers)
    {
        lock (_one)
            foreach (var worker in workers) _policy.Succeeded(worker);
    }

    /// <summary>The coordinator does not want a worker.</summary>
    public void Refused(string worker)
    {
        lock (_one) _policy.Refused(worker);
    }

    /// <summary>From now on nobody is started again.</summary>
    public void LetEnd() => _over.Cancel();

    /// <summary>Waits for the workers to end by themselves, and ends those that do not.</summary>
    public async Task EndAsync(TimeSpan grace)
    {
        LetEnd();
        await Task.WhenAny(Task.WhenAll(_keeping), Task.Delay(grace, _clock));
        Kill();
    }

    /// <summary>Ends all workers now.</summary>
    public void Kill()
    {
        lock (_one)
        {
            LetEnd();
            foreach (var worker in _workers) worker.Kill();
        }
    }

    public void Dispose()
    {
        Kill();
        foreach (var worker in _workers) worker.Dispose();
    }

    private async Task KeepAsync(Worker worker, Task<WorkerExit> running)
    {
        while (true)
        {
            var exit = await running;
            if (_over.IsCancellationRequested) return;
            RestartDecision decision;
            lock (_one) decision = _policy.Decide(worker.Name, exit.Code);
            if (decision.Pause is not { } pause)
            {
                Down(worker, exit, decision.Why);
                return;
            }
            _news.Writer.TryWrite(new WorkerRestarting(worker.Name, exit.ProcessId, exit.ToString(), pause.TotalSeconds));
            await Task.Delay(pause, _clock, _over.Token).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            try
            {
                lock (_one)
                {
                    if (_over.IsCancellationRequested) return;
                    running = worker.RunAsync();
                }
                if (running.IsFaulted) await running;
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException or Win32Exception)
            {
                Down(worker, exit, $"it cannot be started again: {e.Message}");
                return;
            }
        }
    }

    private void Down(Worker worker, WorkerExit exit, string why)
    {
        worker.IsDown = true;
        _news.Writer.TryWrite(new WorkerStaysDown(worker.Name, exit.ProcessId, exit.ToString(), why, worker.Log));
    }
}
