using System.Diagnostics;
using System.Reflection;
using Sora.Protocol.Jobs;

namespace Sora.Cli.Train;

/// <summary>
/// The worker processes of this machine: the same program, started as <c>sora worker start</c>. What they write to stderr goes
/// to a file each. They end by themselves when their coordinator is gone; ending them here as well covers one that hangs.
/// </summary>
internal sealed class WorkerProcesses : IDisposable
{
    /// <summary>Environment variable that carries the coordinator's token: arguments can be read by every user of a machine.</summary>
    public const string TokenVariable = "SORA_WORKER_TOKEN";

    private readonly List<Worker> _workers = [];

    /// <summary>Completes when a worker process ends, with the process.</summary>
    public Task<Worker> FirstExit => WhenFirstExits();

    /// <summary>The processes.</summary>
    public IReadOnlyList<Worker> All => _workers;

    /// <summary>Starts workers.</summary>
    /// <param name="count">How many.</param>
    /// <param name="coordinator">Where they dial.</param>
    /// <param name="token">What they show there.</param>
    /// <param name="logs">Folder for their stderr.</param>
    /// <param name="threads">Threads each computes with.</param>
    /// <param name="oneGpuEach">Whether each sees one GPU only.</param>
    /// <exception cref="SoraException">They cannot be started.</exception>
    public static WorkerProcesses Start(int count, string coordinator, string token, string logs, int threads, bool oneGpuEach)
    {
        var processes = new WorkerProcesses();
        try
        {
            Directory.CreateDirectory(logs);
            for (var index = 0; index < count; index++)
                processes._workers.Add(Worker.Start($"worker-{index}", coordinator, token, Path.Combine(logs, $"worker-{index}.log"), threads, oneGpuEach ? index : null));
            return processes;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or System.ComponentModel.Win32Exception)
        {
            processes.Dispose();
            throw new SoraException($"The worker processes cannot be started: {e.Message}", ExitCode.Failure, e);
        }
    }

    /// <summary>Waits for the workers to end by themselves, and ends those that do not.</summary>
    public async Task EndAsync(TimeSpan grace)
    {
        using var limit = new CancellationTokenSource(grace);
        foreach (var worker in _workers)
            await worker.Ended.WaitAsync(limit.Token).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        Kill();
    }

    /// <summary>Ends all workers now.</summary>
    public void Kill()
    {
        foreach (var worker in _workers) worker.Kill();
    }

    public void Dispose()
    {
        Kill();
        foreach (var worker in _workers) worker.Dispose();
    }

    private async Task<Worker> WhenFirstExits()
    {
        if (_workers.Count == 0) await Task.Delay(Timeout.InfiniteTimeSpan);
        var first = await Task.WhenAny(_workers.Select(worker => worker.Ended));
        return _workers.First(worker => worker.Ended == first);
    }
}

/// <summary>One worker process.</summary>
internal sealed class Worker : IDisposable
{
    private readonly Process _process;

    private Worker(string name, string log, Process process)
    {
        (Name, Log, _process) = (name, log, process);
        Ended = CaptureAsync();
    }

    /// <summary>Its name in logs and events.</summary>
    public string Name { get; }

    /// <summary>File that holds what it wrote to stderr.</summary>
    public string Log { get; }

    /// <summary>Process id.</summary>
    public int Id => _process.Id;

    /// <summary>Completes when the process has ended and all it wrote is in the file.</summary>
    public Task Ended { get; }

    /// <summary>Exit code, once <see cref="Ended"/> has completed.</summary>
    public int ExitCode => _process.ExitCode;

    public static Worker Start(string name, string coordinator, string token, string log, int threads, int? gpu)
    {
        var start = new ProcessStartInfo { RedirectStandardInput = true, RedirectStandardOutput = true, RedirectStandardError = true };
        // Run from source the process is `dotnet sora.dll`, installed it is `sora` itself.
        start.FileName = Environment.ProcessPath!;
        if (Path.GetFileNameWithoutExtension(start.FileName) == "dotnet") start.ArgumentList.Add(Assembly.GetExecutingAssembly().Location);
        foreach (var argument in new[] { "worker", "start", "--coordinator", coordinator, "--name", name, "--managed" }) start.ArgumentList.Add(argument);
        start.Environment[WorkerProcesses.TokenVariable] = token;
        // The job decides, not what the shell happens to say; and a pool that is never larger need not be made larger first.
        foreach (var variable in new[] { "OMP_NUM_THREADS", "MKL_NUM_THREADS" }) start.Environment[variable] = threads.ToString(System.Globalization.CultureInfo.InvariantCulture);
        if (gpu is { } index) start.Environment["CUDA_VISIBLE_DEVICES"] = index.ToString(System.Globalization.CultureInfo.InvariantCulture);
        File.WriteAllText(log, "");
        return new Worker(name, log, Process.Start(start)!);
    }

    /// <summary>The last lines of the log.</summary>
    public IReadOnlyList<string> Tail(int lines) => File.Exists(Log) ? File.ReadLines(Log).TakeLast(lines).ToArray() : [];

    /// <summary>Ends the process now.</summary>
    public void Kill()
    {
        try
        {
            _process.Kill(entireProcessTree: true);
        }
        catch (InvalidOperationException)
        {
            // It has ended already.
        }
    }

    public void Dispose() => _process.Dispose();

    private async Task CaptureAsync()
    {
        await using var log = new StreamWriter(Log, append: true) { AutoFlush = true };
        await Task.WhenAll(CopyAsync(_process.StandardError, log), CopyAsync(_process.StandardOutput, log));
        await _process.WaitForExitAsync();
    }

    private static async Task CopyAsync(StreamReader from, StreamWriter to)
    {
        while (await from.ReadLineAsync() is { } line)
        {
            try
            {
                lock (to) to.WriteLine(line);
            }
            catch (IOException)
            {
                // A full disk loses log lines; not reading on would make the worker wait for ever.
            }
        }
    }
}
