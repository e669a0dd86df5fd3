using System.Globalization;
using System.Net;
using System.Net.Sockets;

namespace Sora.Worker.Exchange;

/// <summary>Where a worker's exchange can be dialled, as text: <c>unix:/path</c> or <c>tcp:host:port</c>.</summary>
internal static class ExchangeEndpoint
{
    /// <exception cref="FormatException">The text is neither form.</exception>
    public static EndPoint Parse(string text)
    {
        if (text.StartsWith("unix:", StringComparison.Ordinal) && text.Length > 5)
            return new UnixDomainSocketEndPoint(text[5..]);
        if (text.StartsWith("tcp:", StringComparison.Ordinal))
        {
            if (IPEndPoint.TryParse(text[4..], out var address))
                return address;
            var colon = text.LastIndexOf(':');
            if (colon > 4 && ushort.TryParse(text[(colon + 1)..], NumberStyles.None, CultureInfo.InvariantCulture, out var port))
                return new DnsEndPoint(text[4..colon], port);
        }
        throw new FormatException($"'{text}' is no exchange endpoint; expected unix:/path or tcp:host:port.");
    }

    public static Socket NewSocket(EndPoint endpoint) => endpoint switch
    {
        UnixDomainSocketEndPoint => new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified),
        DnsEndPoint => new Socket(SocketType.Stream, ProtocolType.Tcp),
        _ => new Socket(endpoint.AddressFamily, SocketType.Stream, ProtocolType.Tcp),
    };
}
