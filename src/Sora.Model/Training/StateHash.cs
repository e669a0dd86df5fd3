using System.IO.Hashing;
using Sora.Protocol.Exchange;

namespace Sora.Model.Training;

/// <summary>
/// A hash of a trainer's state, to tell replicas apart of which one's memory or device has failed. It runs at the speed of
/// memory and withstands accidents, not intent.
/// </summary>
public static class StateHash
{
    private const int HashedAtOnce = 1 << 26;

    /// <summary>XXH128 (hex) of the bytes of all regions, one after the other.</summary>
    public static unsafe string Of(IReadOnlyList<StateRegion> regions)
    {
        var hash = new XxHash128();
        foreach (var region in regions)
        {
            for (var done = 0L; done < region.Bytes; done += HashedAtOnce)
                hash.Append(new ReadOnlySpan<byte>((byte*)region.Address + done, (int)Math.Min(HashedAtOnce, region.Bytes - done)));
        }
        return Convert.ToHexStringLower(hash.GetCurrentHash());
    }
}
