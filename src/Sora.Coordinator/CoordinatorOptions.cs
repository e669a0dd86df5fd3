using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Abstractions;
using Sora.Protocol.Generations;

namespace Sora.Coordinator;

/// <summary>How a coordinator runs.</summary>
public sealed record CoordinatorOptions
{
    /// <summary>Where workers dial: <c>http://address:port</c>, gRPC over plain HTTP/2; port 0 takes a free one.</summary>
    public string ListenUrl { get; init; } = "http://127.0.0.1:0";

    /// <summary>What workers must show; empty: a random one of 256 bits.</summary>
    public string Token { get; init; } = "";

    /// <summary>Folder of the journal.</summary>
    public required string StateDir { get; init; }

    /// <summary>Where log lines go.</summary>
    public ILoggerFactory LoggerFactory { get; init; } = NullLoggerFactory.Instance;

    /// <summary>How long a run waits for its workers to dial in.</summary>
    public TimeSpan ArrivalLimit { get; init; } = TimeSpan.FromMinutes(2);

    /// <summary>How long the workers may take, once here, for the canary and to get ready.</summary>
    public TimeSpan ReadinessLimit { get; init; } = TimeSpan.FromMinutes(10);

    /// <summary>How long the first real cause may arrive after its echo.</summary>
    public TimeSpan CauseGrace { get; init; } = TimeSpan.FromSeconds(3);

    /// <summary>How long the workers may take to stop with a checkpoint.</summary>
    public TimeSpan StopLimit { get; init; } = TimeSpan.FromMinutes(2);

    /// <summary>A worker that says nothing for so long is lost.</summary>
    public TimeSpan WorkerSilenceLimit { get; init; } = TimeSpan.FromSeconds(30);

    internal string JournalPath => Path.Combine(StateDir, "journal.db");

    internal TimeSpan Timeout(RunTimer timer) => timer switch
    {
        RunTimer.Arrival => ArrivalLimit,
        RunTimer.Readiness => ReadinessLimit,
        RunTimer.CauseGrace => CauseGrace,
        RunTimer.Stop => StopLimit,
        _ => throw new ArgumentOutOfRangeException(nameof(timer), timer, null),
    };
}
