using CsCheck;
using Sora.Federation.Aggregation.Updates;

namespace Sora.Federation.Tests.Aggregation.Updates;

public class UpdateManifestTests
{
    [Fact]
    public void What_is_written_is_read()
    {
        var manifest = Manifest();
        var read = UpdateManifest.Read(manifest.Write());
        Assert.Equal(("site-1", 4, 1000, 17.5, UpdateEncoding.Float16, 600), (read.Site, read.Round, read.Parameters, read.Weight, read.Encoding, read.ChunkBytes));
        Assert.Equal(4, read.Chunks);
        Assert.Equal((1800, 200), (read.ChunkOffset(3), read.ChunkLength(3)));
        Assert.True(read.SameAs(manifest));
    }

    [Fact]
    public void Damaged_manifests_are_refused_or_say_something_else_that_holds_together() =>
        Gen.Select(Gen.Int[0, 100_000], Gen.Byte, Gen.Int[0, 300]).Sample((position, value, cut) =>
        {
            var bytes = Manifest().Write();
            bytes[position % bytes.Length] = value;
            foreach (var damaged in new[] { bytes, bytes[..Math.Min(cut, bytes.Length)], [.. bytes, value] })
                try
                {
                    var read = UpdateManifest.Read(damaged);
                    Assert.Equal(read.Bytes, read.ChunkOffset(read.Chunks - 1) + read.ChunkLength(read.Chunks - 1));
                }
                catch (InvalidUpdateException e)
                {
                    Assert.NotEmpty(e.Message);
                }
        });

    [Fact]
    public void Random_bytes_are_refused() =>
        Gen.Byte.Array[0, 200].Sample(bytes => Assert.Throws<InvalidUpdateException>(() => UpdateManifest.Read(bytes)));

    [Theory]
    [InlineData("", 0, 1, 1, 1)]
    [InlineData("s", -1, 1, 1, 1)]
    [InlineData("s", 0, 0, 1, 1)]
    [InlineData("s", 0, long.MaxValue, 1, 1)]
    [InlineData("s", 0, 1, 0, 1)]
    [InlineData("s", 0, 1, double.NaN, 1)]
    [InlineData("s", 0, 1, double.PositiveInfinity, 1)]
    [InlineData("s", 0, 1, 1, 0)]
    [InlineData("s", 0, 1, 1, int.MaxValue)]
    [InlineData("s", 0, 1L << 40, 1, 1)]
    public void Impossible_claims_are_refused(string site, long round, long parameters, double weight, int chunkBytes) =>
        Assert.Throws<InvalidUpdateException>(() => new UpdateManifest(site, round, parameters, weight, UpdateEncoding.Float32, chunkBytes, new byte[32], new byte[4 * 32]));

    [Fact]
    public void Hashes_must_be_as_many_as_chunks() =>
        Assert.Contains("4 chunks", Assert.Throws<InvalidUpdateException>(
            () => new UpdateManifest("s", 0, 1000, 1, UpdateEncoding.Float16, 600, new byte[32], new byte[3 * 32])).Message);

    [Fact]
    public void An_unknown_encoding_is_refused() =>
        Assert.Contains("encoding 9", Assert.Throws<InvalidUpdateException>(() => new UpdateManifest("s", 0, 1, 1, (UpdateEncoding)9, 600, new byte[32], new byte[32])).Message);

    private static UpdateManifest Manifest() => new("site-1", 4, 1000, 17.5, UpdateEncoding.Float16, 600, new byte[32], new byte[4 * 32]);
}
