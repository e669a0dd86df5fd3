using System.Buffers.Binary;
using System.Security.Cryptography;
using System.Text;

namespace Sora.Model.Checkpoints;

/// <summary>
/// The identity of a set of weights: SHA-256 over the tensors as they lie in <c>model.safetensors</c>, in ordinal order
/// of their names (UTF-16 code units). Of each tensor it takes, all integers little-endian:
/// <list type="number">
/// <item>the length of the UTF-8 name as 4 bytes, then the name;</item>
/// <item>the length of the dtype's name as 4 bytes, then that name (<c>F32</c>);</item>
/// <item>the number of dimensions as 4 bytes, then each dimension as 8 bytes;</item>
/// <item>the number of data bytes as 8 bytes, then the data.</item>
/// </list>
/// Every field is preceded by its length, so two different sets never give the same stream. Neither the order of the
/// tensors in the file nor its metadata count.
/// </summary>
public static class WeightsHash
{
    /// <summary>The hash of tensors in memory, lower-case hex.</summary>
    public static string Of(IEnumerable<RawTensor> tensors)
    {
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        foreach (var tensor in tensors.OrderBy(tensor => tensor.Name, StringComparer.Ordinal))
        {
            var size = tensor.ByteCount;
            AppendDescription(hash, tensor.Name, tensor.Dtype, tensor.Shape, size);
            for (long done = 0; done < size;)
            {
                var count = (int)Math.Min(SafetensorsFile.BlockSize, size - done);
                hash.AppendData(tensor.Bytes(done, count));
                done += count;
            }
        }
        return Convert.ToHexStringLower(hash.GetHashAndReset());
    }

    /// <summary>The hash of the tensors of open files, lower-case hex; equal to that of the tensors they were written from.</summary>
    public static string Of(params IReadOnlyList<SafetensorsFile> files)
    {
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        var block = new byte[SafetensorsFile.BlockSize];
        foreach (var (file, tensor) in files.SelectMany(file => file.Tensors, (file, tensor) => (file, tensor)).OrderBy(one => one.tensor.Name, StringComparer.Ordinal))
        {
            AppendDescription(hash, tensor.Name, tensor.Dtype, tensor.Shape, tensor.ByteCount);
            for (long done = 0; done < tensor.ByteCount;)
            {
                var part = block.AsSpan(0, (int)Math.Min(block.Length, tensor.ByteCount - done));
                file.Read(tensor, done, part);
                hash.AppendData(part);
                done += part.Length;
            }
        }
        return Convert.ToHexStringLower(hash.GetHashAndReset());
    }

    private static void AppendDescription(IncrementalHash hash, string name, TensorDtype dtype, IReadOnlyList<long> shape, long size)
    {
        Span<byte> number = stackalloc byte[8];
        AppendText(hash, name);
        AppendText(hash, dtype.Name);
        BinaryPrimitives.WriteInt32LittleEndian(number, shape.Count);
        hash.AppendData(number[..4]);
        foreach (var dimension in shape)
        {
            BinaryPrimitives.WriteInt64LittleEndian(number, dimension);
            hash.AppendData(number);
        }
        BinaryPrimitives.WriteInt64LittleEndian(number, size);
        hash.AppendData(number);
    }

    private static void AppendText(IncrementalHash hash, string text)
    {
        var utf8 = Encoding.UTF8.GetBytes(text);
        Span<byte> length = stackalloc byte[4];
        BinaryPrimitives.WriteInt32LittleEndian(length, utf8.Length);
        hash.AppendData(length);
        hash.AppendData(utf8);
    }
}
