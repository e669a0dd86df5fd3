using System.Globalization;
using System.Security.Cryptography;
using System.Text;

namespace Sora.Model.Checkpoints;

/// <summary>The workers that write a checkpoint together, and which of them this one is.</summary>
/// <param name="Index">This worker, from 0.</param>
/// <param name="Count">How many they are.</param>
/// <param name="Key">The same for all of them and for no other group: parts of different groups never meet. Letters and digits.</param>
public sealed record SaveGroup(int Index, int Count, string Key)
{
    /// <summary>A worker that writes all by itself.</summary>
    public static SaveGroup Alone { get; } = new(0, 1, "");

    /// <summary>Whether this worker also writes all of it into its own output folder: the others' parts do not come there.</summary>
    public bool KeepsWhole { get; init; }

    /// <summary>The members of a generation, as writers into a bucket: there they meet, whatever folders they have in common.</summary>
    /// <param name="run">The run.</param>
    /// <param name="generation">The generation.</param>
    /// <param name="secret">What only members of the generation know.</param>
    /// <param name="rank">This member.</param>
    /// <param name="members">How many there are.</param>
    public static SaveGroup InBucket(string run, long generation, ReadOnlyMemory<byte> secret, int rank, int members) =>
        new(rank, members, KeyOf(run, generation, Convert.ToHexStringLower(secret.Span), members)) { KeepsWhole = rank == 0 };

    /// <summary>A short name that nothing else gets.</summary>
    internal static string KeyOf(params ReadOnlySpan<object> parts)
    {
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        foreach (var part in parts)
            hash.AppendData(Encoding.UTF8.GetBytes($"{Convert.ToString(part, CultureInfo.InvariantCulture)}\n"));
        return Convert.ToHexStringLower(hash.GetHashAndReset().AsSpan(0, 8));
    }
}
