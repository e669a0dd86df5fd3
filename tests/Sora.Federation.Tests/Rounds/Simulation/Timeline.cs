namespace Sora.Federation.Tests.Rounds.Simulation;

/// <summary>Virtual time and what is going to happen in it. Of two things due at the same time the one planned first comes first.</summary>
internal sealed class Timeline
{
    private readonly PriorityQueue<Action, (long Time, long Order)> _planned = new();
    private long _order;

    /// <summary>Milliseconds since the beginning.</summary>
    public long Now { get; private set; }

    public long Events { get; private set; }

    public void After(long milliseconds, Action happening) => _planned.Enqueue(happening, (Now + Math.Max(0, milliseconds), _order++));

    public bool Next()
    {
        if (!_planned.TryDequeue(out var happening, out var due))
            return false;
        Now = due.Time;
        Events++;
        happening();
        return true;
    }
}
