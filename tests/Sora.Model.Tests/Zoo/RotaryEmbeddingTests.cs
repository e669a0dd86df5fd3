using Sora.Model.Tests.Native;
using Sora.Model.Zoo;
using TorchSharp;
using static TorchSharp.torch;

namespace Sora.Model.Tests.Zoo;

[Collection(LibtorchCollection.Name)]
public class RotaryEmbeddingTests
{
    [Theory]
    [InlineData(0)]
    [InlineData(5)]
    public void Rotate_TurnsEachPairByItsAngle(int first)
    {
        const int Size = 8;
        const double Theta = 100;
        using var scope = NewDisposeScope();
        manual_seed(4);
        var heads = randn(2, 3, 2, Size, dtype: ScalarType.Float64);
        var rotary = new RotaryEmbedding(16, Size, Theta, CPU, ScalarType.Float64);

        var actual = rotary.Rotate(heads, first);

        for (var time = 0; time < 3; time++)
        {
            for (var pair = 0; pair < Size / 2; pair++)
            {
                var angle = (first + time) * Math.Pow(Theta, -2.0 * pair / Size);
                var a = heads[1, time, 1, pair].item<double>();
                var b = heads[1, time, 1, pair + Size / 2].item<double>();
                Assert.Equal(a * Math.Cos(angle) - b * Math.Sin(angle), actual[1, time, 1, pair].item<double>(), 12);
                Assert.Equal(b * Math.Cos(angle) + a * Math.Sin(angle), actual[1, time, 1, pair + Size / 2].item<double>(), 12);
            }
        }
    }

    [Fact]
    public void Rotate_ScoresDependOnDistanceAlone()
    {
        using var scope = NewDisposeScope();
        manual_seed(5);
        var query = randn(1, 1, 1, 8, dtype: ScalarType.Float64);
        var key = randn(1, 1, 1, 8, dtype: ScalarType.Float64);
        var rotary = new RotaryEmbedding(32, 8, 10_000, CPU, ScalarType.Float64);

        double Score(long at, long other) => (rotary.Rotate(query, at) * rotary.Rotate(key, other)).sum().item<double>();

        Assert.Equal(Score(3, 1), Score(23, 21), 12);
    }
}
