using System.Buffers.Binary;
using System.Security.Cryptography;
using System.Text;
using CsCheck;
using Sora.Model.Checkpoints;
using Sora.Protocol.Jobs;

namespace Sora.Model.Tests.Checkpoints;

public class SafetensorsTests
{
    private sealed record Sample(string Name, TensorDtype Dtype, long[] Shape, byte[] Bytes);

    private static readonly Gen<Sample> _sample =
        from name in Gen.String[Gen.Char.AlphaNumeric, 1, 12]
        from suffix in Gen.OneOfConst("", ".weight", "/ä", "\"quoted\"", "\\", "層")
        from dtype in Gen.OneOfConst([.. TensorDtype.All.Where(dtype => dtype.Bits % 8 == 0)])
        from shape in Gen.Long[0, 5].Array[0, 3]
        let size = (int)dtype.ByteCount(shape)!.Value
        from bytes in Gen.Byte.Array[size]
        select new Sample(name + suffix, dtype, shape, bytes);

    [Fact]
    public void Write_AnyTensors_ReadsBackTheSame()
    {
        using var folder = new TemporaryFolder();
        _sample.Array[0, 8].Select(samples => samples.DistinctBy(sample => sample.Name).ToArray()).Sample(samples =>
        {
            using var tensors = new MemoryTensors();
            foreach (var sample in samples)
                tensors.Add(sample.Name, sample.Dtype, sample.Shape, sample.Bytes);
            var path = folder[Guid.NewGuid().ToString("N")];
            var digest = SafetensorsWriter.Write(path, tensors, new Dictionary<string, string> { ["format"] = "pt", ["ü"] = "\"" });

            using var file = SafetensorsFile.Open(path);
            Assert.Equal("\"", file.Metadata["ü"]);
            Assert.Equal(samples.Length, file.Tensors.Count);
            foreach (var sample in samples)
            {
                var entry = file.Find(sample.Name)!;
                var bytes = new byte[entry.ByteCount];
                file.Read(entry, 0, bytes);
                Assert.Equal(sample.Dtype, entry.Dtype);
                Assert.Equal(sample.Shape, entry.Shape);
                Assert.Equal(sample.Bytes, bytes);
                Assert.Equal(0, entry.Offset % (sample.Dtype.Bits / 8));
            }
            Assert.Equal(new FileInfo(path).Length, digest.Bytes);
            Assert.Equal(Convert.ToHexStringLower(SHA256.HashData(File.ReadAllBytes(path))), digest.Sha256);
            Assert.Equal(WeightsHash.Of(tensors), WeightsHash.Of(file));
        }, iter: 100, threads: 1);
    }

    [Fact]
    public void Write_KnownTensors_GivesTheBytesOfTheFormat()
    {
        using var folder = new TemporaryFolder();
        using var tensors = new MemoryTensors();
        tensors.Add("b", TensorDtype.UInt8, [3], [1, 2, 3]);
        tensors.Add("a", TensorDtype.Float32, [1, 1], [0, 0, 128, 63]);
        SafetensorsWriter.Write(folder["x"], tensors);

        const string Json = """{"__metadata__":{"format":"pt"},"a":{"dtype":"F32","shape":[1,1],"data_offsets":[0,4]},"b":{"dtype":"U8","shape":[3],"data_offsets":[4,7]}}""";
        var padded = Json.PadRight((Json.Length + 7) / 8 * 8);
        byte[] expected = [(byte)padded.Length, 0, 0, 0, 0, 0, 0, 0, .. Encoding.ASCII.GetBytes(padded), 0, 0, 128, 63, 1, 2, 3];
        Assert.Equal(expected, File.ReadAllBytes(folder["x"]));
    }

    [Fact]
    public void Write_OrderOfTensors_DoesNotChangeTheFile()
    {
        using var folder = new TemporaryFolder();
        using var tensors = new MemoryTensors();
        tensors.Add("one", 1);
        tensors.Add("two", 2, 3);
        var digest = SafetensorsWriter.Write(folder["forward"], tensors);
        Assert.Equal(digest, SafetensorsWriter.Write(folder["backward"], Enumerable.Reverse(tensors).ToList()));
    }

    [Fact]
    public void Open_UnalignedTensors_AreAccepted()
    {
        using var folder = new TemporaryFolder();
        WriteFile(folder["x"], """{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"b":{"dtype":"F32","shape":[],"data_offsets":[1,5]} }  """, 5);
        using var file = SafetensorsFile.Open(folder["x"]);
        Assert.Equal(4, file.Find("b")!.ByteCount);
        Assert.Empty(file.Find("b")!.Shape);
    }

    [Theory]
    [InlineData("[]", 0, "does not begin with '{'")]
    [InlineData("", 0, "does not begin with '{'")]
    [InlineData("{", 0, "not the JSON")]
    [InlineData("{} {}", 0, "not the JSON")]
    [InlineData("""{"a":1}""", 0, "tensor 'a' is not described")]
    [InlineData("""{"a":{"dtype":"F32","shape":[1]}}""", 4, "tensor 'a' is not described")]
    [InlineData("""{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4],"more":1}}""", 4, "tensor 'a' is not described")]
    [InlineData("""{"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}}""", 4, "tensor 'a' is not described")]
    [InlineData("""{"a":{"dtype":"F32","shape":[1.5],"data_offsets":[0,4]}}""", 4, "tensor 'a' is not described")]
    [InlineData("""{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4,8]}}""", 4, "tensor 'a' is not described")]
    [InlineData("""{"a":{"dtype":"F33","shape":[1],"data_offsets":[0,4]}}""", 4, "unknown dtype 'F33'")]
    [InlineData("""{"a":{"dtype":"F4","shape":[1],"data_offsets":[0,1]}}""", 1, "impossible size")]
    [InlineData("""{"a":{"dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,0]}}""", 0, "impossible size")]
    [InlineData("""{"a":{"dtype":"F32","shape":[9223372036854775807,9223372036854775807,9223372036854775807],"data_offsets":[0,0]}}""", 0, "impossible size")]
    [InlineData("""{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,3]}}""", 3, "takes 4 bytes but its offsets are 0..3")]
    [InlineData("""{"a":{"dtype":"F32","shape":[1],"data_offsets":[4,0]}}""", 4, "takes 4 bytes but its offsets are 4..0")]
    [InlineData("""{"a":{"dtype":"U8","shape":[1],"data_offsets":[9223372036854775806,9223372036854775807]}}""", 1, "which no file reaches")]
    [InlineData("""{"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}""", 8, "leave a hole")]
    [InlineData("""{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"b":{"dtype":"F32","shape":[1],"data_offsets":[2,6]}}""", 6, "overlap")]
    [InlineData("""{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}""", 3, "cut short")]
    [InlineData("""{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}""", 5, "longer than its header says")]
    [InlineData("""{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}""", 8, "not the JSON")]
    [InlineData("""{"__metadata__":{"a":"1","a":"2"}}""", 0, "not the JSON")]
    [InlineData("""{"__metadata__":{"a":1}}""", 0, "'a' is not a string")]
    [InlineData("""{"__metadata__":[]}""", 0, "is not an object")]
    [InlineData("""{"\ud800":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}}""", 0, "not the JSON")]
    public void Open_HeaderBreaksARule_SaysWhich(string json, int dataBytes, string reason)
    {
        using var folder = new TemporaryFolder();
        WriteFile(folder["bad"], json, dataBytes);
        var error = Assert.Throws<SoraException>(() => SafetensorsFile.Open(folder["bad"]));
        Assert.Contains(reason, error.Message);
        Assert.Contains(folder["bad"], error.Message);
        Assert.Equal(ExitCode.InvalidInput, error.ExitCode);
    }

    [Theory]
    [InlineData(0UL, 0)]
    [InlineData(1UL, 0)]
    [InlineData(100_000_001UL, 16)]
    [InlineData(ulong.MaxValue, 16)]
    [InlineData(17UL, 16)]
    public void Open_LengthFieldLies_IsRefused(ulong length, int following)
    {
        using var folder = new TemporaryFolder();
        var bytes = new byte[8 + following];
        BinaryPrimitives.WriteUInt64LittleEndian(bytes, length);
        File.WriteAllBytes(folder["bad"], bytes);
        Assert.Throws<SoraException>(() => SafetensorsFile.Open(folder["bad"]));
    }

    [Fact]
    public void Open_MissingFolderOrTinyFile_IsRefused()
    {
        using var folder = new TemporaryFolder();
        File.WriteAllBytes(folder["tiny"], [1, 2, 3]);
        Assert.Contains("fewer than the 8", Assert.Throws<SoraException>(() => SafetensorsFile.Open(folder["tiny"])).Message);
        Assert.Throws<SoraException>(() => SafetensorsFile.Open(folder["absent"]));
        Assert.Throws<SoraException>(() => SafetensorsFile.Open(folder.Path));
    }

    [Fact]
    public void Open_DamagedAnywhere_EitherReadsOrIsRefused()
    {
        using var folder = new TemporaryFolder();
        using var tensors = new MemoryTensors();
        tensors.Add("model.embed.weight", 1, 2, 3);
        tensors.Add("model.norm.weight", 4);
        tensors.Add("ids", TensorDtype.Int64, [1, 2], new byte[16]);
        SafetensorsWriter.Write(folder["good"], tensors);
        var good = File.ReadAllBytes(folder["good"]);

        Gen.Select(Gen.Int[0, good.Length], Gen.Select(Gen.Int[0, good.Length - 1], Gen.Byte).Array[0, 4]).Sample((length, changes) =>
        {
            var bytes = good.ToArray();
            foreach (var (position, value) in changes)
                bytes[position] = value;
            File.WriteAllBytes(folder["fuzzed"], bytes[..length]);
            try
            {
                using var file = SafetensorsFile.Open(folder["fuzzed"]);
                foreach (var tensor in file.Tensors)
                    file.Read(tensor, 0, new byte[tensor.ByteCount]);
            }
            catch (SoraException error)
            {
                Assert.Equal(ExitCode.InvalidInput, error.ExitCode);
            }
        }, iter: 2000, threads: 1);
    }

    [Fact]
    public void WeightsHash_FramingAsDocumented()
    {
        using var tensors = new MemoryTensors();
        tensors.Add("b", 1f);
        tensors.Add("a", TensorDtype.UInt8, [], [7]);
        byte[] framed =
        [
            1, 0, 0, 0, (byte)'a', 2, 0, 0, 0, (byte)'U', (byte)'8', 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 7,
            1, 0, 0, 0, (byte)'b', 3, 0, 0, 0, (byte)'F', (byte)'3', (byte)'2', 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 128, 63,
        ];
        Assert.Equal(Convert.ToHexStringLower(SHA256.HashData(framed)), WeightsHash.Of(tensors));
    }

    [Fact]
    public void WeightsHash_NameShapeOrDtypeDiffers_Differs()
    {
        using var tensors = new MemoryTensors();
        var bytes = new byte[8];
        var variants = new[]
        {
            tensors.Add("a", TensorDtype.Float32, [2], bytes), tensors.Add("b", TensorDtype.Float32, [2], bytes),
            tensors.Add("a", TensorDtype.Float32, [1, 2], bytes), tensors.Add("a", TensorDtype.Int32, [2], bytes),
        };
        Assert.Equal(4, variants.Select(tensor => WeightsHash.Of([tensor])).Distinct().Count());
    }

    private static void WriteFile(string path, string json, int dataBytes)
    {
        var utf8 = Encoding.UTF8.GetBytes(json);
        var bytes = new byte[8 + utf8.Length + dataBytes];
        BinaryPrimitives.WriteUInt64LittleEndian(bytes, (ulong)utf8.Length);
        utf8.CopyTo(bytes, 8);
        File.WriteAllBytes(path, bytes);
    }
}
