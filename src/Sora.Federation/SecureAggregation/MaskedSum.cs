using System.Collections.Immutable;
using Sora.Protocol.Jobs;

namespace Sora.Federation.SecureAggregation;

/// <summary>What became of a chunk of masked input.</summary>
public enum MaskedInputProgress
{
    /// <summary>Taken; more is to come.</summary>
    Taken,
    /// <summary>The site's input is complete and in the sum.</summary>
    Complete,
    /// <summary>As many sites as there are slots are sending; the site shall begin when one is done.</summary>
    Wait,
    /// <summary>The stage is closed, or the site is not expected: nothing was taken.</summary>
    Refused,
}

/// <summary>
/// The sum of masked inputs. A site's chunks are staged in a slot and join the sum when all are here, so an input that stays
/// incomplete never was in it. There is a fixed number of slots, and a site that finds none waits: memory is (1 + slots) vectors
/// however many sites there are. A slot is overwritten by the next site; a single input is never kept. Not for several threads.
/// </summary>
public sealed class MaskedSum
{
    private readonly uint[] _sum;
    private readonly ImmutableHashSet<string> _expected;
    private readonly HashSet<string> _complete = new(StringComparer.Ordinal);
    private readonly Dictionary<string, Slot> _open = new(StringComparer.Ordinal);
    private readonly Stack<Slot> _free = new();
    private bool _closed;

    /// <summary>An empty sum.</summary>
    /// <param name="elements">Length of a masked input.</param>
    /// <param name="expected">The sites whose masks fit together.</param>
    /// <param name="slots">Sites that send at the same time.</param>
    public MaskedSum(int elements, IEnumerable<string> expected, int slots = 2)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(slots, 1);
        _sum = new uint[elements];
        _expected = expected.ToImmutableHashSet(StringComparer.Ordinal);
        for (var i = 0; i < slots; i++)
            _free.Push(new Slot());
    }

    private sealed class Slot
    {
        public uint[] Values = [];
        public int Received;
    }

    /// <summary>Sites whose input is in the sum.</summary>
    public IReadOnlyCollection<string> Completed => _complete;

    /// <summary>Bytes held, whatever the number of sites.</summary>
    internal long BufferBytes => sizeof(uint) * (_sum.LongLength + _free.Concat(_open.Values).Sum(slot => slot.Values.LongLength));

    /// <summary>Takes a chunk. A chunk that is here already is ignored, so a site may resume where it is not sure.</summary>
    /// <exception cref="SoraException">The chunk leaves a gap, or is longer than the update; the caller abandons the site.</exception>
    public MaskedInputProgress Add(MaskedChunk chunk)
    {
        if (_closed || !_expected.Contains(chunk.Site))
            return MaskedInputProgress.Refused;
        if (_complete.Contains(chunk.Site))
            return MaskedInputProgress.Complete;
        if (!_open.TryGetValue(chunk.Site, out var slot))
        {
            if (!_free.TryPop(out slot))
                return MaskedInputProgress.Wait;
            // Kept for the next site: allocated at most once a slot.
            if (slot.Values.Length == 0)
                slot.Values = new uint[_sum.Length];
            slot.Received = 0;
            _open.Add(chunk.Site, slot);
        }
        var end = chunk.First + chunk.Values.Length;
        if (chunk.First >= 0 && end <= slot.Received)
            return MaskedInputProgress.Taken;
        if (chunk.First != slot.Received || end > _sum.Length)
            throw new SoraException(
                $"Site {chunk.Site} sent the elements {chunk.First} to {end} of its masked input, expected was {slot.Received} to at most {_sum.Length}. "
                + "Continue where the last chunk ended.", ExitCode.InvalidInput);
        chunk.Values.Span.CopyTo(slot.Values.AsSpan(slot.Received));
        slot.Received = (int)end;
        if (slot.Received < _sum.Length)
            return MaskedInputProgress.Taken;
        ModularVector.Add(_sum, slot.Values);
        _complete.Add(chunk.Site);
        Abandon(chunk.Site);
        return MaskedInputProgress.Complete;
    }

    /// <summary>The site is gone, or too slow: its slot goes to another one.</summary>
    public void Abandon(string site)
    {
        if (_open.Remove(site, out var slot))
            _free.Push(slot);
    }

    /// <summary>Ends the stage: incomplete inputs are forgotten and later ones refused.</summary>
    /// <returns>The sites in the sum.</returns>
    public IReadOnlyCollection<string> Close()
    {
        _closed = true;
        _open.Clear();
        _free.Clear();
        return _complete;
    }

    /// <summary>Takes the masks off.</summary>
    /// <param name="masks">All that are in the sum, from <see cref="SecureAggregationServer.Masks"/>.</param>
    /// <param name="encoding">The round's.</param>
    public SecureSum Unmask(IReadOnlyList<RestoredMask> masks, FixedPointEncoding encoding)
    {
        if (!_closed)
            throw new InvalidOperationException("The masks can be taken off once the stage is closed.");
        foreach (var mask in masks)
        {
            using var stream = new CounterStream(mask.Key);
            if (mask.IsAdded)
                stream.Subtract(_sum, 0);
            else
                stream.Add(_sum, 0);
        }
        return new SecureSum(_sum, encoding);
    }
}

/// <summary>A mask that is in the sum and must come off.</summary>
/// <param name="Key">Key of its stream.</param>
/// <param name="IsAdded">It was added, not subtracted.</param>
public sealed record RestoredMask(byte[] Key, bool IsAdded);

/// <summary>The sum of the survivors' updates.</summary>
public sealed class SecureSum
{
    private readonly uint[] _sum;
    private readonly FixedPointEncoding _encoding;

    internal SecureSum(uint[] sum, FixedPointEncoding encoding) => (_sum, _encoding) = (sum, encoding);

    /// <summary>The sum of the sites' weights.</summary>
    public long TotalWeight => _sum[^1];

    /// <summary>The sum of the encoded parameters, modulo 2^32.</summary>
    public ReadOnlySpan<uint> Encoded => _sum.AsSpan(0, _sum.Length - 1);

    /// <summary>The weighted mean of the updates, from one parameter on.</summary>
    public void CopyMean(int first, Span<float> mean) => _encoding.DecodeMean(Encoded.Slice(first, mean.Length), TotalWeight, mean);
}
