using Sora.Protocol.Exchange;

namespace Sora.Worker.Exchange;

/// <summary>Regions of memory one after the other, addressed as if they were one.</summary>
internal sealed unsafe class StateRegions
{
    /// <summary>Bytes of a frame: large enough that heads cost nothing, small enough to stay in a cache between checksum and socket.</summary>
    internal const int FrameBytes = 1 << 20;

    private readonly StateRegion[] _regions;
    private readonly long[] _starts;

    public StateRegions(IReadOnlyList<StateRegion> regions)
    {
        if (regions.Any(region => region.Bytes < 0))
            throw new ArgumentException("A region of the state has a negative length.", nameof(regions));
        _regions = [.. regions.Where(region => region.Bytes > 0)];
        _starts = new long[_regions.Length];
        for (var i = 0; i < _regions.Length; i++)
        {
            _starts[i] = Bytes;
            Bytes += _regions[i].Bytes;
        }
    }

    /// <summary>Bytes of all regions.</summary>
    public long Bytes { get; }

    /// <summary>The frame that begins at <paramref name="offset"/>: up to the next multiple of a frame's size, the end of the region or <paramref name="end"/>.</summary>
    public int FrameLength(long offset, long end)
    {
        var region = RegionAt(offset);
        var within = Math.Min(_starts[region] + _regions[region].Bytes, end) - offset;
        return (int)Math.Min(within, FrameBytes - offset % FrameBytes);
    }

    /// <summary>Where bytes lie that one region has all of; zero: they lie in several.</summary>
    public nint Find(long offset, int length)
    {
        var region = RegionAt(offset);
        var within = offset - _starts[region];
        return within + length <= _regions[region].Bytes ? _regions[region].Address + (nint)within : 0;
    }

    /// <summary>Copies bytes from one or more regions.</summary>
    public void CopyTo(long offset, Span<byte> target)
    {
        for (var region = RegionAt(offset); !target.IsEmpty; region++)
        {
            var within = offset - _starts[region];
            var length = (int)Math.Min(target.Length, _regions[region].Bytes - within);
            new ReadOnlySpan<byte>((void*)(_regions[region].Address + (nint)within), length).CopyTo(target);
            target = target[length..];
            offset += length;
        }
    }

    private int RegionAt(long offset)
    {
        var found = Array.BinarySearch(_starts, offset);
        return found >= 0 ? found : ~found - 1;
    }
}
