using System.Diagnostics;
using System.Globalization;
using System.Reflection;

namespace Sora.Cli.Train;

/// <summary>How a worker process ended.</summary>
/// <param name="ProcessId">Which it was.</param>
/// <param name="Code">Its exit code; above 128 the number of the signal that ended it and 128.</param>
internal sealed record WorkerExit(int ProcessId, int Code)
{
    /// <summary>As people say it.</summary>
    public override string ToString() => Code switch
    {
        134 => "killed by signal 6, SIGABRT: a native library gave up",
        137 => "killed by signal 9, SIGKILL: often the system was out of memory",
        139 => "killed by signal 11, SIGSEGV: a native library crashed",
        > 128 and < 160 => $"killed by signal {Code - 128}",
        _ => $"exit code {Code}",
    };
}

/// <summary>How worker processes are started.</summary>
/// <param name="Coordinators">Where they dial, separated by commas.</param>
/// <param name="Token">What they show there.</param>
/// <param name="Logs">Folder for what they write.</param>
/// <param name="Threads">Threads each computes with.</param>
/// <param name="OneGpuEach">Whether each sees one GPU only.</param>
internal sealed record WorkerLaunch(string Coordinators, string Token, string Logs, int Threads, bool OneGpuEach)
{
    /// <summary>What their names begin with; a number follows.</summary>
    public string NamePrefix { get; init; } = "worker-";

    /// <summary>Processes of another kind, by index; empty: workers.</summary>
    public IReadOnlyList<WorkerCommand> Commands { get; init; } = [];

    /// <summary>The name and the arguments of the process with an index.</summary>
    public WorkerCommand CommandOf(int index)
    {
        var name = $"{NamePrefix}{index}";
        return Commands.Count > 0 ? Commands[index] : new WorkerCommand(name, ["worker", "start", "--coordinator", Coordinators, "--name", name, "--managed"]);
    }
}

/// <summary>A process of this program.</summary>
/// <param name="Name">What it is called in events and logs.</param>
/// <param name="Arguments">What it is started with.</param>
internal sealed record WorkerCommand(string Name, IReadOnlyList<string> Arguments);

/// <summary>One worker of this machine: a name, a log, and the process that bears the name at present.</summary>
internal sealed class Worker : IDisposable
{
    private readonly WorkerLaunch _launch;
    private readonly int _index;
    private readonly WorkerCommand _command;
    private Process? _process;
    private TaskCompletionSource<WorkerExit> _exit = new(TaskCreationOptions.RunContinuationsAsynchronously);

    public Worker(WorkerLaunch launch, int index)
    {
        (_launch, _index, _command) = (launch, index, launch.CommandOf(index));
        Log = Path.Combine(launch.Logs, $"{Name}.log");
        File.WriteAllText(Log, "");
    }

    /// <summary>Its name in logs and events.</summary>
    public string Name => _command.Name;

    /// <summary>File that holds what its processes wrote to stderr.</summary>
    public string Log { get; }

    /// <summary>How the last process of this name that has ended did so; null as long as none has.</summary>
    public WorkerExit? LastExit { get; private set; }

    /// <summary>Completes when the present process ends.</summary>
    public Task<WorkerExit> Exit => _exit.Task;

    /// <summary>Whether nobody starts it again.</summary>
    public bool IsDown { get; set; }

    /// <summary>Starts a process and waits for its end, with all it wrote in the log.</summary>
    /// <exception cref="IOException">The log cannot be written.</exception>
    /// <exception cref="System.ComponentModel.Win32Exception">The system starts no process.</exception>
    public async Task<WorkerExit> RunAsync()
    {
        await using var log = new StreamWriter(Log, append: true) { AutoFlush = true };
        using var process = Process.Start(StartInfo())!;
        _process = process;
        if (_exit.Task.IsCompleted) _exit = new TaskCompletionSource<WorkerExit>(TaskCreationOptions.RunContinuationsAsynchronously);
        var id = process.Id;
        var copies = Task.WhenAll(CopyAsync(process.StandardError, log), CopyAsync(process.StandardOutput, log));
        await process.WaitForExitAsync();
        var exit = LastExit = new WorkerExit(id, process.ExitCode);
        _exit.TrySetResult(exit);
        await copies;
        return exit;
    }

    /// <summary>The last lines of the log.</summary>
    public IReadOnlyList<string> Tail(int lines) => File.Exists(Log) ? File.ReadLines(Log).TakeLast(lines).ToArray() : [];

    /// <summary>Ends the process now.</summary>
    public void Kill()
    {
        try
        {
            _process?.Kill(entireProcessTree: true);
        }
        catch (InvalidOperationException)
        {
            // It has ended already.
        }
    }

    public void Dispose() => _process?.Dispose();

    private ProcessStartInfo StartInfo()
    {
        var start = new ProcessStartInfo { RedirectStandardInput = true, RedirectStandardOutput = true, RedirectStandardError = true };
        // Run from source the process is `dotnet sora.dll`, installed it is `sora` itself.
        start.FileName = Environment.ProcessPath!;
        if (Path.GetFileNameWithoutExtension(start.FileName) == "dotnet") start.ArgumentList.Add(Assembly.GetExecutingAssembly().Location);
        foreach (var argument in _command.Arguments) start.ArgumentList.Add(argument);
        start.Environment[WorkerProcesses.TokenVariable] = _launch.Token;
        // The job decides, not what the shell happens to say; and a pool that is never larger need not be made larger first.
        foreach (var variable in new[] { "OMP_NUM_THREADS", "MKL_NUM_THREADS" }) start.Environment[variable] = _launch.Threads.ToString(CultureInfo.InvariantCulture);
        if (_launch.OneGpuEach) start.Environment["CUDA_VISIBLE_DEVICES"] = _index.ToString(CultureInfo.InvariantCulture);
        return start;
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
