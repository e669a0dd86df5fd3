using Sora.Protocol.Generations;

namespace Sora.Protocol.Exchange;

/// <summary>A worker of a generation, as its peers see it.</summary>
/// <param name="Worker">Worker id.</param>
/// <param name="Lanes">Lanes it owns.</param>
/// <param name="Endpoints">How to dial it, best first: <c>unix:/path</c>, <c>tcp:host:port</c>.</param>
public sealed record ExchangeMember(string Worker, LaneRange Lanes, IReadOnlyList<string> Endpoints);
