using static TorchSharp.torch;

namespace Sora.Model.Zoo;

/// <summary>Keys and values of one block for the tokens seen so far.</summary>
internal sealed class KeyValueCache : IDisposable
{
    private readonly Tensor _keys;   // [1, key/value heads, positions, head size]
    private readonly Tensor _values;

    public KeyValueCache(DecoderShape shape, Device device, ScalarType dtype)
    {
        long[] size = [1, shape.KeyValueHeads, shape.Positions, shape.HeadSize];
        _keys = zeros(size, dtype: dtype, device: device).DetachFromDisposeScope();
        _values = zeros(size, dtype: dtype, device: device).DetachFromDisposeScope();
    }

    public long Length { get; private set; }

    /// <summary>Adds the new tokens' keys and values and returns views of all.</summary>
    public (Tensor Keys, Tensor Values) Append(Tensor keys, Tensor values)
    {
        var time = keys.shape[2];
        _keys.narrow(2, Length, time).copy_(keys);
        _values.narrow(2, Length, time).copy_(values);
        Length += time;
        return (_keys.narrow(2, 0, Length), _values.narrow(2, 0, Length));
    }

    public void Dispose()
    {
        _keys.Dispose();
        _values.Dispose();
    }
}

/// <summary>The caches of all blocks.</summary>
internal sealed class DecoderState(IReadOnlyList<KeyValueCache> caches) : DecodingState
{
    public IReadOnlyList<KeyValueCache> Caches { get; } = caches;

    public override void Dispose()
    {
        foreach (var cache in Caches)
            cache.Dispose();
    }
}
