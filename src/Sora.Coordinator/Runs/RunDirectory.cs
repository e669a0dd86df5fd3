using System.Collections.Concurrent;
using System.Threading.Channels;
using Sora.Protocol.Blocks;
using Sora.Protocol.Jobs;
using Sora.Protocol.Runs;

namespace Sora.Coordinator.Runs;

/// <summary>
/// The runs submitted through this process that are not over: where their events go and where pieces of their corpus
/// come from. Lock-free; written by the host and by the entities.
/// </summary>
internal sealed class RunDirectory
{
    private readonly ConcurrentDictionary<string, LiveRun> _runs = new(StringComparer.Ordinal);

    /// <summary>Starts collecting events of a run.</summary>
    public ChannelReader<RunEvent> Open(RunSubmission submission)
    {
        var live = new LiveRun(submission, Channel.CreateUnbounded<RunEvent>(new UnboundedChannelOptions { SingleReader = true }));
        if (!_runs.TryAdd(submission.Run, live))
            throw new SoraException($"Run {submission.Run} is already going on here. Wait for it or give the new one another id.", ExitCode.Usage);
        return live.Events.Reader;
    }

    /// <summary>Shows an event to whoever submitted the run; the first event that ends it is the last one shown.</summary>
    public void Publish(string run, RunEvent published)
    {
        if (!_runs.TryGetValue(run, out var live))
            return;
        var ends = published is RunFinished or RunStopped or RunFailed;
        if (ends && !_runs.TryRemove(new KeyValuePair<string, LiveRun>(run, live)))
            return;
        live.Events.Writer.TryWrite(published);
        if (ends)
            live.Events.Writer.TryComplete();
    }

    /// <summary>Where pieces of a corpus come from; null when no run here uses it.</summary>
    public IPieceSource? FindCorpus(string corpusHash) =>
        _runs.Values.FirstOrDefault(live => live.Submission.CorpusHash == corpusHash)?.Submission.Pieces;

    /// <summary>Ends whatever is still going on.</summary>
    public void Abandon(string reason)
    {
        foreach (var (run, live) in _runs)
            Publish(run, new RunFailed(live.Submission.FirstStep, reason, null, live.Submission.ResumeFrom, ExitCode.Failure));
    }

    private sealed record LiveRun(RunSubmission Submission, Channel<RunEvent> Events);
}
