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

    /// <summary>A short name that nothing else gets.</summary>
    internal static string KeyOf(params ReadOnlySpan<object> parts)
    {
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        foreach (var part in parts)
            hash.AppendData(Encoding.UTF8.GetBytes($"{Convert.ToString(part, CultureInfo.InvariantCulture)}\n"));
        return Convert.ToHexStringLower(hash.GetHashAndReset().AsSpan(0, 8));
    }
}
