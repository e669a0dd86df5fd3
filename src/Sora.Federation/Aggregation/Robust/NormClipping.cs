namespace Sora.Federation.Aggregation.Robust;

/// <summary>
/// Scales updates whose norm exceeds a bound down to it, so that m of n malicious sites move the mean by at most
/// 2 m / n times the bound. Looks at one update at a time, so the round keeps streaming. (What clipping for differential privacy
/// must guarantee beyond this is not its business.)
/// </summary>
/// <param name="ClippingNorm">The bound.</param>
public sealed record NormClipping(double ClippingNorm) : IScreen
{
    /// <inheritdoc/>
    public bool NeedsAll => false;

    /// <inheritdoc/>
    public Screening Screen(IReadOnlyList<Contribution> updates) =>
        new([.. updates.Select(update => update.Norm <= ClippingNorm ? update : update with { Scale = update.Scale * (ClippingNorm / update.Norm) })], []);
}
