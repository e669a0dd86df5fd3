using Sora.Protocol.Runs;

namespace Sora.Federation.Rounds;

/// <summary>Tells news from what a watcher of a federated run knows already, as <see cref="RunNews"/> does for the other runs.</summary>
/// <param name="from">Rounds up to this one are known.</param>
public sealed class RoundNews(long from)
{
    private bool _started;
    private long _committed = from;
    private long _evaluated = from;

    /// <summary>Whether it is news; from now on it is not.</summary>
    public bool IsNews(RunEvent happened) => happened switch
    {
        FederationStarted => !_started && (_started = true),
        RoundCommitted committed => Raise(ref _committed, committed.Round),
        RoundEvaluated evaluated => Raise(ref _evaluated, evaluated.Round),
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
