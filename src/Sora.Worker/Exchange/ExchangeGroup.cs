using Sora.Protocol.Generations;
using Sora.Protocol.Wire;

namespace Sora.Worker.Exchange;

/// <summary>A worker of a generation, as its peers see it.</summary>
/// <param name="Worker">Worker id.</param>
/// <param name="Lanes">Lanes it owns.</param>
/// <param name="Endpoints">How to dial it, best first.</param>
internal sealed record ExchangeMember(string Worker, LaneRange Lanes, IReadOnlyList<string> Endpoints);

/// <summary>The workers of a generation in rank order, and which of them this one is.</summary>
internal sealed record ExchangeGroup(ExchangeIdentity Identity, IReadOnlyList<ExchangeMember> Members)
{
    public int Rank => Identity.Rank;

    public ExchangeMember Self => Members[Rank];

    public int Lanes => Members[^1].Lanes.End;
}
