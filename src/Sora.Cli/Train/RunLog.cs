using Sora.Cli.Display;
using Sora.Protocol.Runs;

namespace Sora.Cli.Train;

/// <summary>
/// <c>logs/events.jsonl</c>: every event of a run, across resumes, as <c>--json</c> prints them. Steps after the one a run
/// resumes from are dropped, because they are computed again.
/// </summary>
internal sealed class RunLog : IDisposable
{
    private readonly List<StepCommitted> _steps = [];
    private readonly List<Evaluated> _evaluations = [];
    private readonly StreamWriter _writer;

    private RunLog(string path, IEnumerable<RunEvent> history)
    {
        Directory.CreateDirectory(Path.GetDirectoryName(path)!);
        var kept = history.ToArray();
        _writer = new StreamWriter(path, append: false) { AutoFlush = true };
        foreach (var happened in kept) Add(happened);
    }

    /// <summary>Steps so far, oldest first.</summary>
    public IReadOnlyList<StepCommitted> Steps => _steps;

    /// <summary>Evaluations so far, oldest first.</summary>
    public IReadOnlyList<Evaluated> Evaluations => _evaluations;

    /// <summary>Opens the log of a run that goes on after <paramref name="firstStep"/> steps.</summary>
    public static RunLog Open(string folder, long firstStep)
    {
        var path = Path.Combine(folder, "events.jsonl");
        var history = firstStep > 0 && File.Exists(path) ? File.ReadLines(path).Select(RunJson.Read).OfType<RunEvent>().Where(happened => StepOf(happened) <= firstStep) : [];
        return new RunLog(path, history);
    }

    /// <summary>Adds an event.</summary>
    public void Add(RunEvent happened)
    {
        if (happened is DataProgress) return;
        if (happened is StepCommitted step) _steps.Add(step);
        if (happened is Evaluated evaluation) _evaluations.Add(evaluation);
        _writer.WriteLine(RunJson.Write(happened));
    }

    public void Dispose() => _writer.Dispose();

    private static long StepOf(RunEvent happened) => happened switch
    {
        StepCommitted e => e.Step,
        Evaluated e => e.Step,
        CheckpointSaved e => e.Step,
        RunFinished => long.MaxValue,
        _ => 0,
    };
}
