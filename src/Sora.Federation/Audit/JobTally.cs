using Sora.Federation.Policies;

namespace Sora.Federation.Audit;

/// <summary>Adds up what a log tells of one job.</summary>
internal sealed class JobTally(string job, DateTimeOffset from)
{
    private readonly List<string> _coordinators = [];
    private readonly List<string> _dataSets = [];
    private readonly SortedDictionary<string, MessagesOut> _out = new(StringComparer.Ordinal);
    private readonly List<RefusedRound> _refused = [];
    private readonly List<RejectedUpdate> _rejected = [];
    private RoundRequest? _request;
    private DateTimeOffset? _until;
    private int _asked;
    private int _allowed;
    private int _closed;
    private double? _epsilon;
    private double? _delta;
    private string? _modelHash;

    public void Take(AuditEntry entry)
    {
        _until = entry.Time;
        switch (entry.Event)
        {
            case RoundAsked { Request: var request }:
                _asked++;
                _request = request;
                AddNew(_coordinators, [request.Coordinator]);
                break;
            case RoundDecided { IsAllowed: true } decided:
                _allowed++;
                if (_request?.Round == decided.Round) AddNew(_dataSets, _request.DataSets);
                break;
            case RoundDecided decided:
                _refused.Add(new RefusedRound(decided.Round, entry.Time, decided.BrokenRules));
                break;
            case MessageSent sent:
                var before = _out.GetValueOrDefault(sent.Type) ?? new MessagesOut(sent.Type, 0, 0);
                _out[sent.Type] = before with { Messages = before.Messages + 1, Bytes = before.Bytes + sent.Bytes };
                break;
            case PrivacySpent spent:
                // Epsilon is recorded as the sum so far, so the largest is the last; what is lower later is no refund.
                _epsilon = Math.Max(_epsilon ?? 0, spent.Epsilon);
                _delta = Math.Max(_delta ?? 0, spent.Delta);
                break;
            case UpdateRejected rejected:
                _rejected.Add(new RejectedUpdate(rejected.Round, rejected.Site, rejected.Reason));
                break;
            case RoundClosed closed:
                _closed++;
                _modelHash = closed.ModelHash;
                break;
        }
    }

    public JobReport Report() => new()
    {
        Job = job,
        From = from,
        Until = _until ?? from,
        Coordinators = _coordinators,
        DataSets = _dataSets,
        RoundsAsked = _asked,
        RoundsAllowed = _allowed,
        RoundsClosed = _closed,
        Epsilon = _epsilon,
        Delta = _delta,
        BytesOut = _out.Values.Sum(of => of.Bytes),
        Out = [.. _out.Values],
        Refused = _refused,
        Rejected = _rejected,
        ModelHash = _modelHash,
    };

    private static void AddNew(List<string> known, IReadOnlyList<string> names) => known.AddRange(names.Where(name => !known.Contains(name)).Distinct().ToArray());
}
