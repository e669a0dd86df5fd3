using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Abstractions;

namespace Sora.Worker;

/// <summary>What a worker process is started with.</summary>
public sealed record WorkerOptions
{
    /// <summary>
    /// Where the coordinators listen, in the order in which to try them: <c>http://host:port</c> on loopback or a trusted
    /// network, <c>https://</c> elsewhere.
    /// </summary>
    public required IReadOnlyList<Uri> Coordinators { get; init; }

    /// <summary>What the coordinator wants to see before it talks.</summary>
    public required string Token { get; init; }

    /// <summary>This worker's name, unique among the workers of a coordinator; empty: made from host and process.</summary>
    public string Name { get; init; } = "";

    /// <summary>libtorch threads instead of the job's <c>threads_per_worker</c>: to see what other numerics do.</summary>
    public int? ThreadsOverride { get; init; }

    /// <summary>Address, or address and port, to listen on for peers on other hosts; empty: the address from which the coordinator is reached.</summary>
    public string BindAddress { get; init; } = "";

    /// <summary>Host, or host and port, that all peers dial instead of the address listened on, as in a container; empty: that one.</summary>
    public string AdvertisedAddress { get; init; } = "";

    /// <summary>Folder for pieces of a corpus that is not on this machine; empty: in the user's cache folder.</summary>
    public string CacheDir { get; init; } = "";

    /// <summary>Fetch the corpus from the coordinator even where its folder can be read, for instance over a slow network drive.</summary>
    public bool FetchCorpus { get; init; }

    /// <summary>End when standard input ends: whoever started this worker holds it open and is gone then.</summary>
    public bool EndWithStandardInput { get; init; }

    /// <summary>How long to look for a coordinator as long as there is no work.</summary>
    public TimeSpan ConnectTimeout { get; init; } = TimeSpan.FromSeconds(30);

    /// <summary>How long to look for a coordinator while there is work; it goes on meanwhile.</summary>
    public TimeSpan ReconnectLimit { get; init; } = TimeSpan.FromHours(1);

    /// <summary>Where logs go.</summary>
    public ILoggerFactory LoggerFactory { get; init; } = NullLoggerFactory.Instance;

    /// <summary>Clock.</summary>
    public TimeProvider Time { get; init; } = TimeProvider.System;

    /// <summary>Draws the pauses between attempts to reach a coordinator.</summary>
    public Random Random { get; init; } = Random.Shared;
}
