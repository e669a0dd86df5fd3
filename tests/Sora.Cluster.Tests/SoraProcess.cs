using System.Diagnostics;
using System.Text.Json;

namespace Sora.Cluster.Tests;

/// <summary>The real program in a process of its own, its output kept. Killed by process id when disposed.</summary>
internal sealed class SoraProcess : IDisposable
{
    // On a machine that is busy with other things as well. What does not come is told with the last words of who should have said it.
    private static readonly TimeSpan Patience = TimeSpan.FromMinutes(2);

    private readonly Process _process;
    private readonly ProcessLines _output = new();
    private readonly ProcessLines _errors = new();

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
        process.OutputDataReceived += (_, line) => { if (line.Data is not null) sora._output.Add(line.Data); };
        process.ErrorDataReceived += (_, line) => { if (line.Data is not null) sora._errors.Add(line.Data); };
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
        return (await FirstAsync(_output, Read, 0, $"the event '{name}'", cancellationToken)).RootElement;

        JsonDocument? Read(int number, string line)
        {
            if (!line.StartsWith('{'))
                return null;
            var json = JsonDocument.Parse(line);
            return json.RootElement.GetProperty("event").GetString() == name && matching(json.RootElement) ? json : null;
        }
    }

    /// <summary>Lines on stderr so far.</summary>
    public IReadOnlyList<string> Log => _errors.All;

    /// <summary>The first log line of an event id, after so many lines.</summary>
    public async Task<LogLine> LogAsync(int eventId, int after = 0, Func<string, bool>? matching = null)
    {
        return await FirstAsync(_errors, Read, after, $"log line {eventId}", TestContext.Current.CancellationToken);

        LogLine? Read(int number, string line) =>
            line.Contains($"[{eventId}]", StringComparison.Ordinal) && matching?.Invoke(line) != false ? new LogLine(number, line) : null;
    }

    /// <summary>Kills it, at once and without another process that would have to start first.</summary>
    public async Task KillAsync(CancellationToken cancellationToken)
    {
        _process.Kill();
        await _process.WaitForExitAsync(cancellationToken);
    }

    public void Signal(string signal) => Signal(signal, Id);

    /// <summary>Sends a signal to a process that <c>sora</c> started.</summary>
    public static void Signal(string signal, int process) => Process.Start("kill", [$"-{signal}", process.ToString()]).WaitForExit();

    public async Task<SoraResult> EndAsync(CancellationToken cancellationToken)
    {
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        limit.CancelAfter(Patience);
        try
        {
            await _process.WaitForExitAsync(limit.Token);
        }
        catch (OperationCanceledException)
        {
            throw new Xunit.Sdk.XunitException($"sora should have ended.\n{So(-1)}");
        }
        return So(_process.ExitCode);
    }

    private async Task<T> FirstAsync<T>(ProcessLines lines, Func<int, string, T?> read, int after, string what, CancellationToken cancellationToken) where T : class
    {
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        limit.CancelAfter(Patience);
        try
        {
            return await lines.FirstAsync(read, after, _process.WaitForExitAsync(limit.Token))
                ?? throw new Xunit.Sdk.XunitException($"sora ended before {what}.\n{So(_process.ExitCode)}");
        }
        catch (OperationCanceledException)
        {
            throw new Xunit.Sdk.XunitException($"sora still runs, and {what} has not come.\n{So(-1)}");
        }
    }

    private SoraResult So(int exitCode) => new(exitCode, _output.All, string.Join('\n', _errors.All));

    public void Dispose()
    {
        if (!_process.HasExited)
            _process.Kill(entireProcessTree: true);
        _process.Dispose();
    }
}

/// <summary>A line on stderr.</summary>
/// <param name="Number">Counts from 1.</param>
/// <param name="Text">The line.</param>
internal sealed record LogLine(int Number, string Text);

/// <summary>How a <c>sora</c> process ended.</summary>
internal sealed record SoraResult(int ExitCode, IReadOnlyList<string> Output, string Errors)
{
    /// <summary>The last event of a name.</summary>
    public JsonElement Event(string name) =>
        Events(name) is [.., var last] ? last : throw new Xunit.Sdk.XunitException($"No event '{name}'.\n{this}");

    /// <summary>All events of a name.</summary>
    public IReadOnlyList<JsonElement> Events(string name) =>
        [.. Output.Select(line => JsonDocument.Parse(line).RootElement).Where(json => json.GetProperty("event").GetString() == name)];

    public override string ToString() => $"exit code {ExitCode}\n{string.Join('\n', Output.TakeLast(30))}\n--- stderr\n{string.Join('\n', Errors.Split('\n').TakeLast(60))}";
}
