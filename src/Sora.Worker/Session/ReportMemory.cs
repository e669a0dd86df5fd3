using Sora.Protocol.Api;

namespace Sora.Worker.Session;

/// <summary>
/// The last reports of steps and evaluations. Every member makes the same ones and remembers them, so that whoever comes to
/// speak for the generation can tell what its predecessor, or a stream that broke, may not have delivered.
/// </summary>
internal sealed class ReportMemory(TimeProvider time)
{
    internal const int Capacity = 4096;

    /// <summary>What was sent just before a stream broke may not have arrived: at least so many reports,</summary>
    internal const int Overlap = 64;

    /// <summary>
    /// and all of so long before, which is how late a break may be noticed. The worker's own coordinator may be well and pass on
    /// what it hears to one that is dead: nothing is noticed until a third has taken the run over.
    /// </summary>
    internal static readonly TimeSpan NoticeTime = TimeSpan.FromMinutes(2);

    private readonly Queue<Remembered> _reports = new();
    private long _brokeAt = long.MaxValue;

    private sealed class Remembered(FromWorker report)
    {
        public FromWorker Report => report;

        /// <summary>Timestamp; null: not yet.</summary>
        public long? SentAt { get; set; }

        public long Step => (long)(report.Step?.Step ?? report.Evaluation.Step);
    }

    /// <param name="report">Of a step or an evaluation.</param>
    /// <param name="sent">It was handed to an open stream.</param>
    public void Add(FromWorker report, bool sent)
    {
        if (_reports.Count == Capacity)
            _reports.Dequeue();
        _reports.Enqueue(new Remembered(report) { SentAt = sent ? time.GetTimestamp() : null });
    }

    /// <summary>The stream is broken.</summary>
    public void Broke() => _brokeAt = time.GetTimestamp();

    /// <summary>On a new stream: what the one before may not have delivered, in order. Counts as sent now.</summary>
    public IReadOnlyList<FromWorker> Undelivered()
    {
        var doubtful = _reports
            .SkipWhile((remembered, index) => index < _reports.Count - Overlap && remembered.SentAt is { } sent && time.GetElapsedTime(sent, _brokeAt) > NoticeTime)
            .ToList();
        return Sent(doubtful);
    }

    /// <summary>In a new generation: what people do not know yet, in order. Counts as sent now.</summary>
    public IReadOnlyList<FromWorker> Untold(long reportedStep, long evaluatedStep)
    {
        var byNews = _reports.ToLookup(remembered => remembered.Step > (remembered.Report.Step is null ? evaluatedStep : reportedStep));
        foreach (var known in byNews[false])
            known.SentAt ??= 0;
        return Sent(byNews[true]);
    }

    /// <summary>The run goes back to a step: what came later will be reported again.</summary>
    public void ForgetAfter(long step)
    {
        var kept = _reports.Where(remembered => remembered.Step <= step).ToList();
        _reports.Clear();
        kept.ForEach(_reports.Enqueue);
    }

    private List<FromWorker> Sent(IEnumerable<Remembered> reports)
    {
        var sent = new List<FromWorker>();
        foreach (var remembered in reports)
        {
            remembered.SentAt = time.GetTimestamp();
            sent.Add(remembered.Report);
        }
        return sent;
    }
}
