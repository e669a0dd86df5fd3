namespace Sora.Protocol.Runs;

/// <summary>
/// Tells news from what a watcher knows already: when a run moves to another coordinator, or its watcher turns to another, its story is told once more.
/// </summary>
/// <param name="from">Whatever is of this step or an earlier one is known.</param>
public sealed class RunNews(long from)
{
    private bool _started;
    private long _generation;
    private long _step = from;
    private long _evaluation = from;
    private long _checkpoint = from;

    /// <summary>Whether it is news; from now on it is not.</summary>
    public bool IsNews(RunEvent happened) => happened switch
    {
        RunStarted => !_started && (_started = true),
        GenerationFormed generation => Raise(ref _generation, generation.Generation),
        StepCommitted step => Raise(ref _step, step.Step),
        Evaluated evaluation => Raise(ref _evaluation, evaluation.Step),
        CheckpointSaved checkpoint => Raise(ref _checkpoint, checkpoint.Step),
        _ => true,
    };

    private static bool Raise(ref long known, long value)
    {
        if (value <= known)
            return false;
        known = value;
        return true;
    }
}
