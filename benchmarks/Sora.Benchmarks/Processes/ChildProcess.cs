using System.Diagnostics;
using System.Runtime.InteropServices;

namespace Sora.Benchmarks.Processes;

/// <summary>A process of this benchmark: signals, its CPU time, its end. Killed when disposed, however it stands.</summary>
internal sealed partial class ChildProcess : IDisposable
{
    private static readonly double TicksPerSecond = SystemConfiguration(2 /* _SC_CLK_TCK */);

    private readonly Process _process;

    private ChildProcess(Process process) => _process = process;

    public enum Signal
    {
        Interrupt = 2,
        Kill = 9,
        Terminate = 15,
        Continue = 18,
        Stop = 19,
    }

    public int Id => _process.Id;

    public bool HasEnded => _process.HasExited;

    public int ExitCode => _process.ExitCode;

    /// <summary>Completes when it has ended and all it wrote was read.</summary>
    public Task Ended => _process.WaitForExitAsync();

    /// <summary>CPU seconds it has taken so far, all threads, user and system; 0 when it is gone.</summary>
    public double CpuSeconds
    {
        get
        {
            try
            {
                var fields = File.ReadAllText($"/proc/{Id}/stat") is var stat ? stat[(stat.LastIndexOf(')') + 2)..].Split(' ') : [];
                return (long.Parse(fields[11]) + long.Parse(fields[12])) / TicksPerSecond;
            }
            catch (IOException)
            {
                return 0;
            }
        }
    }

    public static ChildProcess Start(ProcessStartInfo start, string log, Action<string>? onLine)
    {
        var process = new Process { StartInfo = start };
        var gate = new Lock();
        void Log(string? line)
        {
            if (line is null)
                return;
            lock (gate)
                File.AppendAllText(log, line + "\n");
        }
        process.ErrorDataReceived += (_, line) => Log(line.Data);
        process.OutputDataReceived += (_, line) =>
        {
            Log(onLine is null ? line.Data : null);
            if (line.Data is not null)
                onLine?.Invoke(line.Data);
        };
        process.Start();
        process.BeginErrorReadLine();
        process.BeginOutputReadLine();
        return new ChildProcess(process);
    }

    public void Send(Signal signal)
    {
        if (!HasEnded)
            _ = SendSignal(Id, (int)signal);
    }

    public void Dispose()
    {
        // A stopped process dies of this as well.
        Send(Signal.Kill);
        _process.WaitForExit();
        _process.Dispose();
    }

    [LibraryImport("libc", EntryPoint = "kill")]
    private static partial int SendSignal(int process, int signal);

    [LibraryImport("libc", EntryPoint = "sysconf")]
    private static partial long SystemConfiguration(int name);
}
