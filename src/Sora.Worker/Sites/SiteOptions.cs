using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Abstractions;

namespace Sora.Worker.Sites;

/// <summary>Data of a site that jobs may ask for.</summary>
/// <param name="Name">What the site's policy calls it.</param>
/// <param name="Folder">Where it lies. Its content never leaves the process.</param>
public sealed record SiteDataSet(string Name, string Folder);

/// <summary>What a site's process is started with.</summary>
public sealed record SiteOptions
{
    /// <summary>
    /// Where the coordinators listen, in the order in which to try them: <c>http://host:port</c> on loopback or a trusted
    /// network, <c>https://</c> elsewhere.
    /// </summary>
    public required IReadOnlyList<Uri> Coordinators { get; init; }

    /// <summary>What the site lets jobs do; read again for every round.</summary>
    public required string PolicyFile { get; init; }

    /// <summary>The site's private key, as <c>sora site keygen</c> made it.</summary>
    public required string IdentityFile { get; init; }

    /// <summary>
    /// Folder for what the site must remember: its journal, its updates, its privacy ledgers, its audit log. Whoever loses it loses
    /// count of what was spent.
    /// </summary>
    public required string StateDir { get; init; }

    /// <summary>The data that may be trained on.</summary>
    public required IReadOnlyList<SiteDataSet> Data { get; init; }

    /// <summary>How long to look for a coordinator as long as there is no run.</summary>
    public TimeSpan ConnectTimeout { get; init; } = TimeSpan.FromSeconds(30);

    /// <summary>How long to look for a coordinator while there is a run; local training goes on meanwhile.</summary>
    public TimeSpan ReconnectLimit { get; init; } = TimeSpan.FromHours(24);

    /// <summary>End when standard input ends: whoever started this site holds it open and is gone then.</summary>
    public bool EndWithStandardInput { get; init; }

    /// <summary>Where logs go.</summary>
    public ILoggerFactory LoggerFactory { get; init; } = NullLoggerFactory.Instance;

    /// <summary>Clock.</summary>
    public TimeProvider Time { get; init; } = TimeProvider.System;

    /// <summary>Draws the pauses between attempts to reach a coordinator. Nothing secret comes from it.</summary>
    public Random Random { get; init; } = Random.Shared;
}
