using System.Net;
using System.Net.Sockets;
using System.Text;
using Sora.Protocol.Jobs;

namespace Sora.Worker.Exchange;

/// <summary>Where a worker listens for its peers, and what they are told to dial.</summary>
/// <param name="SocketPath">File of the Unix domain socket; null: none.</param>
/// <param name="Tcp">Where to listen for peers on other hosts.</param>
/// <param name="Advertised">Host, or host and port, that they dial; null: the one listened on.</param>
internal sealed record ExchangeAddress(string? SocketPath, IPEndPoint Tcp, string? Advertised)
{
    // What a Unix domain socket's name may have on all systems.
    private const int LongestPath = 100;

    /// <param name="options">What the user wants.</param>
    /// <param name="folder">This worker's own.</param>
    /// <exception cref="SoraException">The user wants what cannot be, or no coordinator can be reached.</exception>
    public static ExchangeAddress Of(WorkerOptions options, string folder)
    {
        var bound = options.BindAddress.Length > 0 ? ParseBind(options.BindAddress) : null;
        if (options.AdvertisedAddress.Length > 0)
        {
            // Peers in other containers have other file systems: what is advertised is the only way.
            return new ExchangeAddress(null, bound ?? new IPEndPoint(TowardsCoordinator(options), 0), CheckAdvertised(options.AdvertisedAddress));
        }
        // Listening on all addresses is not yet one that can be dialled.
        var advertised = bound is null || !(bound.Address.Equals(IPAddress.Any) || bound.Address.Equals(IPAddress.IPv6Any)) ? null : Bracketed(TowardsCoordinator(options));
        return new ExchangeAddress(PathIn(folder), bound ?? new IPEndPoint(TowardsCoordinator(options), 0), advertised);
    }

    /// <summary>What peers dial, given the port that is listened on.</summary>
    public string Endpoint(IPEndPoint listening) =>
        Advertised is null ? $"tcp:{listening}" : HasPort(Advertised) ? $"tcp:{Advertised}" : $"tcp:{Advertised}:{listening.Port}";

    private static IPEndPoint ParseBind(string text) => IPEndPoint.TryParse(text, out var endpoint)
        ? endpoint
        : throw new SoraException($"'{text}' is no address to listen on. Write ADDRESS or ADDRESS:PORT with an IP address of this machine, such as 10.0.0.7 or 10.0.0.7:5500.", ExitCode.Usage);

    private static string CheckAdvertised(string text)
    {
        if (IPAddress.TryParse(text, out var address) && address.AddressFamily == AddressFamily.InterNetworkV6 && !text.StartsWith('['))
            return Bracketed(address);
        return Uri.TryCreate($"tcp://{text}", UriKind.Absolute, out var uri) && uri.Host.Length > 0 && uri.Port is -1 or > 0 && uri.AbsolutePath is "/" or "" && uri.UserInfo.Length == 0
            ? text
            : throw new SoraException($"'{text}' is nothing that peers could dial. Write HOST or HOST:PORT.", ExitCode.Usage);
    }

    private static bool HasPort(string advertised) => new Uri($"tcp://{advertised}").Port > 0;

    private static string Bracketed(IPAddress address) => address.AddressFamily == AddressFamily.InterNetworkV6 ? $"[{address}]" : address.ToString();

    /// <summary>A file for the Unix domain socket; null where the system has none or the path is too long for one.</summary>
    private static string? PathIn(string folder)
    {
        var path = Path.Combine(folder, "exchange");
        return Socket.OSSupportsUnixDomainSockets && Encoding.UTF8.GetByteCount(path) < LongestPath ? path : null;
    }

    /// <summary>This machine's address on the way to the coordinator.</summary>
    private static IPAddress TowardsCoordinator(WorkerOptions options)
    {
        if (options.Coordinators.All(coordinator => coordinator.IsLoopback))
            return IPAddress.Loopback;
        SocketException? last = null;
        foreach (var coordinator in options.Coordinators.Where(coordinator => !coordinator.IsLoopback))
        {
            try
            {
                // Connecting a datagram socket sends nothing; it only asks the routing table.
                using var probe = new Socket(SocketType.Dgram, ProtocolType.Udp);
                probe.Connect(coordinator.Host, coordinator.Port);
                var address = ((IPEndPoint)probe.LocalEndPoint!).Address;
                return address.IsIPv4MappedToIPv6 ? address.MapToIPv4() : address;
            }
            catch (SocketException e)
            {
                // The next one may be reachable.
                last = e;
            }
        }
        throw new SoraException(
            $"{string.Join(" and ", options.Coordinators.Select(coordinator => coordinator.Host))} cannot be reached from this machine: {last!.Message}. Check the coordinator's address.",
            ExitCode.Unreachable, last);
    }
}
