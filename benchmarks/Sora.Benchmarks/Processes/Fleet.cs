using static Sora.Benchmarks.Processes.ChildProcess;

namespace Sora.Benchmarks.Processes;

/// <summary>
/// Coordinators and workers as an operator has them: each kept by a supervisor that starts it again a second after it
/// died. Remembers which workers were there when.
/// </summary>
internal sealed class Fleet : IDisposable
{
    private static readonly TimeSpan SupervisorPause = TimeSpan.FromSeconds(1);

    private readonly string _folder;
    private readonly string _journal;
    private readonly string[] _addresses;
    private readonly string[] _seeds;
    private readonly CancellationTokenSource _over = new();
    private readonly Lock _gate = new();
    private readonly Dictionary<string, ChildProcess> _workers = [];
    private readonly HashSet<string> _wanted = [];
    private readonly List<Task> _keeping = [];
    private readonly List<(double Time, int Change)> _started = [];
    private readonly List<(double Time, int Change)> _live = [];
    private readonly HashSet<int> _letIn = [];
    private readonly HashSet<int> _stopped = [];
    private readonly HashSet<int> _expectedToEnd = [];
    private readonly List<double> _startCosts = [];
    private readonly ChildProcess?[] _coordinators;

    /// <param name="folder">For everything that is written.</param>
    /// <param name="coordinators">How many; several need a journal they share.</param>
    /// <param name="journal">Connection string of PostgreSQL; empty: a file.</param>
    public Fleet(string folder, int coordinators = 1, string journal = "")
    {
        (_folder, _journal, _coordinators) = (folder, journal, new ChildProcess?[coordinators]);
        _addresses = [.. Enumerable.Range(0, coordinators).Select(_ => $"http://127.0.0.1:{Ports.Free()}")];
        _seeds = coordinators == 1 ? [] : [.. Enumerable.Range(0, coordinators).Select(_ => $"127.0.0.1:{Ports.Free()}")];
        Directory.CreateDirectory(Path.Combine(folder, "logs"));
        File.WriteAllText(TokenFile, Guid.NewGuid().ToString("N"));
        for (var index = 0; index < coordinators; index++)
            _keeping.Add(KeepCoordinatorAsync(index));
    }

    public string[] Coordinator => ["--coordinator", string.Join(',', _addresses), "--token-file", TokenFile];

    /// <summary>What a coordinator wrote.</summary>
    public string CoordinatorLog(int index) => Path.Combine(_folder, "logs", $"coordinator-{index}.log");

    /// <summary>What a worker wrote.</summary>
    public string WorkerLog(string name) => Path.Combine(_folder, "logs", $"{name}.log");

    /// <summary>Workers and coordinators that ended without being told to.</summary>
    public int UnaskedEnds { get; private set; }

    /// <summary>CPU seconds of each worker process until it was let in.</summary>
    public IReadOnlyList<double> StartCosts { get { lock (_gate) return [.. _startCosts]; } }

    /// <summary>Names of workers whose process runs, was let in, and is not stopped.</summary>
    public IReadOnlyList<string> Live { get { lock (_gate) return [.. _workers.Where(worker => _letIn.Contains(worker.Value.Id) && !_stopped.Contains(worker.Value.Id)).Select(worker => worker.Key).Order()]; } }

    /// <summary>Changes of the number of live workers: let in, not stopped, not dead.</summary>
    public IReadOnlyList<(double Time, int Change)> LiveSchedule { get { lock (_gate) return [.. _live]; } }

    /// <summary>The same, a worker counting from the start of its process.</summary>
    public IReadOnlyList<(double Time, int Change)> StartedSchedule { get { lock (_gate) return [.. _started]; } }

    private string TokenFile => Path.Combine(_folder, "token");

    /// <summary>Starts a worker and from then on starts it again.</summary>
    public void Add(string name)
    {
        lock (_gate)
        {
            if (!_wanted.Add(name))
                return;
            _keeping.Add(KeepWorkerAsync(name));
        }
    }

    /// <summary>SIGTERM, for good.</summary>
    public void Remove(string name)
    {
        lock (_gate)
            _wanted.Remove(name);
        Drain(name);
    }

    public void Kill(string name) => End(name, Signal.Kill);

    public void Drain(string name) => End(name, Signal.Terminate);

    public void KillCoordinator(int index = 0)
    {
        lock (_gate)
        {
            if (_coordinators[index] is not { } coordinator)
                return;
            _expectedToEnd.Add(coordinator.Id);
            coordinator.Send(Signal.Kill);
        }
    }

    /// <summary>SIGSTOP, and SIGCONT after some time.</summary>
    public async Task PauseAsync(string name, TimeSpan length)
    {
        ChildProcess process;
        lock (_gate)
        {
            process = _workers[name];
            _stopped.Add(process.Id);
            Record(process, -1);
            process.Send(Signal.Stop);
        }
        await Task.Delay(length, _over.Token).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        lock (_gate)
        {
            if (_over.IsCancellationRequested || !_workers.ContainsValue(process))
                return;
            process.Send(Signal.Continue);
            _stopped.Remove(process.Id);
            Record(process, +1);
        }
    }

    /// <summary>The run has let a process in.</summary>
    public void LetIn(int processId)
    {
        lock (_gate)
        {
            if (_workers.Values.FirstOrDefault(worker => worker.Id == processId) is not { } process || !_letIn.Add(processId))
                return;
            _startCosts.Add(process.CpuSeconds);
            _live.Add((RunTimeline.Now, +1));
        }
    }

    /// <summary>Ends everything; nothing is started after this.</summary>
    public void Dispose()
    {
        lock (_gate)
        {
            _over.Cancel();
            foreach (var process in _workers.Values)
                process.Send(Signal.Kill);
            foreach (var coordinator in _coordinators)
                coordinator?.Send(Signal.Kill);
        }
        Task.WaitAll([.. _keeping]);
    }

    private void End(string name, Signal signal)
    {
        lock (_gate)
        {
            if (!_workers.TryGetValue(name, out var process) || !_expectedToEnd.Add(process.Id))
                return;
            if (!_stopped.Contains(process.Id))
                Record(process, -1);
            process.Send(signal);
        }
    }

    private void Record(ChildProcess process, int change)
    {
        var now = RunTimeline.Now;
        _started.Add((now, change));
        if (_letIn.Contains(process.Id))
            _live.Add((now, change));
    }

    private async Task KeepWorkerAsync(string name)
    {
        while (true)
        {
            ChildProcess process;
            lock (_gate)
            {
                if (_over.IsCancellationRequested || !_wanted.Contains(name))
                    return;
                process = SoraProgram.Start(WorkerLog(name), null, ["worker", .. Coordinator, "--name", name, "--managed"]);
                _workers[name] = process;
                _started.Add((RunTimeline.Now, +1));
            }
            await process.Ended;
            lock (_gate)
            {
                _workers.Remove(name);
                Ended(process);
                if (!_expectedToEnd.Contains(process.Id) && !_stopped.Contains(process.Id))
                    Record(process, -1);
            }
            process.Dispose();
            await PauseAsync();
        }
    }

    private async Task KeepCoordinatorAsync(int index)
    {
        while (true)
        {
            ChildProcess process;
            lock (_gate)
            {
                if (_over.IsCancellationRequested)
                    return;
                _coordinators[index] = process = SoraProgram.Start(CoordinatorLog(index), null, CoordinatorCommand(index), _journal.Length > 0 ? new Dictionary<string, string> { ["SORA_JOURNAL"] = _journal } : null);
            }
            await process.Ended;
            lock (_gate)
            {
                _coordinators[index] = null;
                Ended(process);
            }
            process.Dispose();
            await PauseAsync();
        }
    }

    private string[] CoordinatorCommand(int index)
    {
        string[] alone = ["coordinator", "start", "--state", Path.Combine(_folder, $"state-{index}"), "--listen", _addresses[index], "--token-file", TokenFile];
        return _seeds.Length == 0 ? alone : [.. alone, "--cluster-listen", _seeds[index], "--seeds", string.Join(',', _seeds), "--log-level", "debug"];
    }

    private void Ended(ChildProcess process)
    {
        if (!_over.IsCancellationRequested && !_expectedToEnd.Contains(process.Id))
            UnaskedEnds++;
    }

    private async Task PauseAsync() => await Task.Delay(SupervisorPause, _over.Token).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
}
