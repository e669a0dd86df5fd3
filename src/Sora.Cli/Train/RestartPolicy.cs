using Sora.Protocol.Jobs;

namespace Sora.Cli.Train;

/// <summary>What becomes of a worker that has ended.</summary>
/// <param name="Pause">After which it is started again; null: it stays down.</param>
/// <param name="Why">Why it stays down, where a person should know; empty: it left in good order.</param>
internal readonly record struct RestartDecision(TimeSpan? Pause, string Why);

/// <summary>
/// Whether a worker of this machine that ended is started again. One that died is, at once and then after ever longer pauses,
/// until it takes part in a step; one that left on purpose, or would end the same way again, is not.
/// </summary>
/// <param name="maxRestarts">Restarts of all workers together; null or negative: no limit.</param>
internal sealed class RestartPolicy(int? maxRestarts)
{
    /// <summary>Restarts in a row that may come to nothing.</summary>
    public const int AttemptsInVain = 5;

    private static readonly TimeSpan FirstPause = TimeSpan.FromSeconds(0.2);
    private static readonly TimeSpan LongestPause = TimeSpan.FromSeconds(10);

    private readonly Dictionary<string, int> _inVain = new(StringComparer.Ordinal);
    private readonly HashSet<string> _refused = new(StringComparer.Ordinal);
    private int _restarts;

    /// <summary>A worker took part in a step.</summary>
    public void Succeeded(string worker) => _inVain.Remove(worker);

    /// <summary>The coordinator does not want a worker.</summary>
    public void Refused(string worker) => _refused.Add(worker);

    /// <summary>Decides about a worker that ended.</summary>
    public RestartDecision Decide(string worker, int exitCode)
    {
        if (exitCode is ExitCode.Ok or ExitCode.Resumable) return new RestartDecision(null, "");
        if (_refused.Contains(worker)) return new RestartDecision(null, "it was refused");
        if (exitCode is ExitCode.Usage or ExitCode.InvalidInput or ExitCode.Diverged) return new RestartDecision(null, "it would end the same way again");
        if (maxRestarts is >= 0 and var limit && _restarts >= limit)
            return new RestartDecision(null, limit == 0 ? "max_restarts is 0" : $"max_restarts is {limit} and so often workers were started again");
        var attempts = _inVain.GetValueOrDefault(worker);
        if (attempts >= AttemptsInVain) return new RestartDecision(null, $"it was started again {attempts} times in a row without taking part in a step");
        _inVain[worker] = attempts + 1;
        _restarts++;
        var pause = FirstPause * Math.Pow(2, attempts);
        return new RestartDecision(pause < LongestPause ? pause : LongestPause, "");
    }
}
