using Sora.Protocol.Exchange;
using Sora.Protocol.Wire;

namespace Sora.Worker.Exchange;

/// <summary>The workers of a generation in rank order, and which of them this one is.</summary>
internal sealed record ExchangeGroup(ExchangeIdentity Identity, IReadOnlyList<ExchangeMember> Members)
{
    public int Rank => Identity.Rank;

    public ExchangeMember Self => Members[Rank];

    public int Lanes => Members[^1].Lanes.End;
}
