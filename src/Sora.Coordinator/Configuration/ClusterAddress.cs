using System.Globalization;
using Sora.Protocol.Jobs;

namespace Sora.Coordinator.Configuration;

/// <summary>Where a coordinator is reached by the others: a name or address and a port.</summary>
internal readonly record struct ClusterAddress(string Host, int Port)
{
    /// <exception cref="SoraException">The options name no address, or do not fit together.</exception>
    public static (ClusterAddress Listen, ClusterAddress Advertise, IReadOnlyList<ClusterAddress> Seeds) Of(CoordinatorOptions options)
    {
        if (options.ClusterListen.Length == 0)
        {
            if (options.ClusterSeeds.Count > 0)
                throw new SoraException("Other coordinators are named, but no address where they reach this one. Give it one.", ExitCode.Usage);
            var alone = new ClusterAddress("127.0.0.1", 0);
            return (alone, alone, []);
        }
        var listen = Parse(options.ClusterListen);
        var advertise = options.ClusterAdvertise.Length > 0 ? Parse(options.ClusterAdvertise) : listen;
        IReadOnlyList<ClusterAddress> seeds = [.. options.ClusterSeeds.Select(Parse)];
        if (!seeds.Contains(advertise))
            throw new SoraException($"The coordinators of the cluster ({string.Join(", ", seeds)}) do not include this one, {advertise}. Give all of them the same list, written the same way.", ExitCode.Usage);
        if (seeds.Count > 1 && options.JournalConnection.Length == 0)
            throw new SoraException("Several coordinators need a journal they share: give all of them the connection string of one PostgreSQL database.", ExitCode.Usage);
        return (listen, advertise, seeds);
    }

    public override string ToString() => $"{Host}:{Port}";

    private static ClusterAddress Parse(string text)
    {
        var colon = text.LastIndexOf(':');
        return colon > 0 && int.TryParse(text.AsSpan(colon + 1), NumberStyles.None, CultureInfo.InvariantCulture, out var port) && port is > 0 and < 65536
            ? new ClusterAddress(text[..colon], port)
            : throw new SoraException($"'{text}' is not an address of a coordinator. Write NAME:PORT, such as 10.0.0.5:4053.", ExitCode.Usage);
    }
}
