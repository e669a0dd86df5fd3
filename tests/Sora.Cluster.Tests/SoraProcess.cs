using System.Diagnostics;
using System.Text.Json;

namespace Sora.Cluster.Tests;

/// <summary>The real program in a process of its own, its output kept. Killed by process id when disposed.</summary>
internal sealed class SoraProcess : IDisposable
{
    private readonly Process _process;
    private readonly List<string> _output = [];
    private readonly List<string> _errors = [];
    private TaskCompletionSource _lineArrived = NewSignal();

    private SoraProcess(Process process) => _process = process;

    public int Id => _process.Id;

    public static string Program { get; } = Path.Combine(AppContext.BaseDirectory, "sora.dll");

    /// <summary>Starts <c>sora</c>; the environment is the test's own plus <paramref name="environment"/>.</summary>
    public static SoraProcess Start(IEnumerable<string> arguments, IReadOnlyDictionary<string, string>? environment = null)
    {
        var start = new ProcessStartInfo(Environment.ProcessPath is { } host && Path.GetFileNameWithoutExtension(host) == "dotnet" ? host : "dotnet")
        {
            RedirectStandardOutput = true,
            RedirectStandardError = true,
            RedirectStandardInput = true,
            WorkingDirectory = AppContext.BaseDirectory,
        };
        start.ArgumentList.Add(Program);
        foreach (var argument in arguments)
            start.ArgumentList.Add(argument);
        foreach (var (key, value) in environment ?? new Dictionary<string, string>())
            start.Environment[key] = value;
        var process = new Process { StartInfo = start };
        var sora = new SoraProcess(process);
        process.OutputDataReceived += (_, line) => sora.OnOutput(line.Data);
        process.ErrorDataReceived += (_, line) => { if (line.Data is not null) lock (sora._errors) sora._errors.Add(line.Data); };
        process.Start();
        process.StandardInput.Close();
        process.BeginOutputReadLine();
        process.BeginErrorReadLine();
        return sora;
    }

    /// <summary>Runs <c>sora</c> to its end.</summary>
    public static async Task<SoraResult> RunAsync(IEnumerable<string> arguments, CancellationToken cancellationToken)
    {
        using var process = Start(arguments);
        return await process.EndAsync(cancellationToken);
    }

    /// <summary>The next event of this name that has <paramref name="matching"/>, including those already printed.</summary>
    public async Task<JsonElement> EventAsync(string name, Func<JsonElement, bool> matching, CancellationToken cancellationToken)
    {
        var seen = 0;
        while (true)
        {
            Task next;
            lock (_output)
            {
                foreach (var line in _output.Skip(seen).Where(line => line.StartsWith('{')))
                {
                    var json = JsonDocument.Parse(line).RootElement;
                    if (json.GetProperty("event").GetString() == name && matching(json))
                        return json;
                }
                seen = _output.Count;
                next = _lineArrived.Task;
            }
            var exit = _process.WaitForExitAsync(cancellationToken);
            if (await Task.WhenAny(next, exit) == exit && !next.IsCompleted)
            {
                var result = await EndAsync(cancellationToken);
                Assert.Fail($"sora ended with {result.ExitCode} before the event '{name}'.\n{result}");
            }
        }
    }

    public void Signal(string signal) => Signal(signal, Id);

    /// <summary>Sends a signal to a process that <c>sora</c> started.</summary>
    public static void Signal(string signal, int process) => Process.Start("kill", [$"-{signal}", process.ToString()]).WaitForExit();

    public async Task<SoraResult> EndAsync(CancellationToken cancellationToken)
    {
        await _process.WaitForExitAsync(cancellationToken);
        lock (_output)
            lock (_errors)
                return new SoraResult(_process.ExitCode, [.. _output], string.Join('\n', _errors));
    }

    public void Dispose()
    {
        if (!_process.HasExited)
            _process.Kill(entireProcessTree: true);
        _process.Dispose();
    }

    private void OnOutput(string? line)
    {
        if (line is null)
            return;
        lock (_output)
        {
            _output.Add(line);
            _lineArrived.SetResult();
            _lineArrived = NewSignal();
        }
    }

    private static TaskCompletionSource NewSignal() => new(TaskCreationOptions.RunContinuationsAsynchronously);
}

/// <summary>How a <c>sora</c> process ended.</summary>
internal sealed record SoraResult(int ExitCode, IReadOnlyList<string> Output, string Errors)
{
    /// <summary>The last event of a name.</summary>
    public JsonElement Event(string name) =>
        Events(name) is [.., var last] ? last : throw new Xunit.Sdk.XunitException($"No event '{name}'.\n{this}");

    /// <summary>All events of a name.</summary>
    public IReadOnlyList<JsonElement> Events(string name) =>
        [.. Output.Select(line => JsonDocument.Parse(line).RootElement).Where(json => json.GetProperty("event").GetString() == name)];

    public override string ToString() => $"exit code {ExitCode}\n{string.Join('\n', Output.TakeLast(30))}\n--- stderr\n{Errors}";
}
