using System.Collections.Concurrent;
using System.Diagnostics.CodeAnalysis;
using System.Security.Cryptography;
using Akka.Actor;

namespace Sora.Coordinator.Federations;

/// <summary>What a ticket is good for.</summary>
/// <param name="Run">The run.</param>
/// <param name="Site">The site that was let in.</param>
/// <param name="Store">Where its updates go and models come from.</param>
/// <param name="Entity">Who is told what became of an update.</param>
internal sealed record SiteTicket(string Run, string Site, FederationStore Store, IActorRef Entity);

/// <summary>Lets the calls beside a site's stream through for as long as the stream lasts. Whoever knows a ticket is the site: 256 random bits.</summary>
internal sealed class SiteTickets
{
    private readonly ConcurrentDictionary<string, SiteTicket> _tickets = new(StringComparer.Ordinal);

    public string Issue(SiteTicket ticket)
    {
        var text = Convert.ToHexStringLower(RandomNumberGenerator.GetBytes(32));
        _tickets[text] = ticket;
        return text;
    }

    public void Revoke(string text) => _tickets.TryRemove(text, out _);

    public bool TryFind(string text, [NotNullWhen(true)] out SiteTicket? ticket) => _tickets.TryGetValue(text, out ticket);
}
