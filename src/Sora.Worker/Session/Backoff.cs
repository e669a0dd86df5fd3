namespace Sora.Worker.Session;

/// <summary>
/// How long to wait before trying again: twice as long each time up to a limit, and a random part of it, so that a thousand
/// workers that lost one coordinator do not come back in step.
/// </summary>
internal sealed class Backoff(Random random)
{
    private static readonly TimeSpan Shortest = TimeSpan.FromMilliseconds(100);
    private static readonly TimeSpan Longest = TimeSpan.FromSeconds(5);
    private TimeSpan _next = Shortest;

    public TimeSpan Next()
    {
        var longest = _next;
        _next = _next * 2 < Longest ? _next * 2 : Longest;
        return longest * (0.5 + random.NextDouble() / 2);
    }

    /// <summary>What was tried has worked.</summary>
    public void Reset() => _next = Shortest;
}
