using Sora.Protocol.Jobs;

namespace Sora.Federation.SecureAggregation;

/// <summary>
/// Masks a site's update, chunk by chunk: encoded value + own mask +- one mask a neighbour, modulo 2^32. Every position is masked
/// once, because two values under the same mask would betray their difference; to send a chunk again, keep its masked form.
/// </summary>
public sealed class InputMasker : IDisposable
{
    private readonly SecureAggregationPlan _plan;
    private readonly string _site;
    private readonly int _weight;
    private readonly IReadOnlyList<(CounterStream Stream, bool Adds)> _masks;
    private int _next;
    private bool _disposed;

    internal InputMasker(SecureAggregationPlan plan, string site, int weight, IReadOnlyList<(CounterStream Stream, bool Adds)> masks) =>
        (_plan, _site, _weight, _masks) = (plan, site, weight, masks);

    /// <summary>Whether all parameters, and with them the weight, have been masked.</summary>
    public bool IsComplete => _next == _plan.Parameters;

    /// <summary>Masks the next values of the update; the chunk that ends it has the weight as one element more.</summary>
    public MaskedChunk Mask(ReadOnlySpan<float> values)
    {
        ObjectDisposedException.ThrowIf(_disposed, this);
        if (values.Length > _plan.Parameters - _next || (values.IsEmpty && !IsComplete) || IsComplete)
            throw new SoraException(
                $"Site {_site} masks {values.Length} parameters from {_next} on, but the round's updates have {_plan.Parameters}. "
                + "The site's model is not the round's.", ExitCode.InvalidInput);
        var ends = values.Length == _plan.Parameters - _next;
        var masked = new uint[values.Length + (ends ? 1 : 0)];
        _plan.Encoding.Encode(values, _weight, _next, masked.AsSpan(0, values.Length));
        if (ends)
            masked[^1] = (uint)_weight;
        foreach (var (stream, adds) in _masks)
        {
            if (adds)
                stream.Add(masked, _next);
            else
                stream.Subtract(masked, _next);
        }
        var chunk = new MaskedChunk(_site, _next, masked);
        _next += values.Length;
        if (ends)
            Dispose();
        return chunk;
    }

    /// <summary>Wipes the masks.</summary>
    public void Dispose()
    {
        _disposed = true;
        foreach (var (stream, _) in _masks)
            stream.Dispose();
    }
}
