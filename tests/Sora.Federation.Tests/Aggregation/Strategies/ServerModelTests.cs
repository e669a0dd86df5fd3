using CsCheck;
using Sora.Federation.Aggregation.Strategies;
using Sora.Protocol.Jobs;

namespace Sora.Federation.Tests.Aggregation.Strategies;

public class ServerModelTests
{
    private static readonly ServerModel Model = new(12, RoundTesting.Values(1, 70_000), [RoundTesting.Values(2, 70_000), RoundTesting.Values(3, 70_000)]);

    [Fact]
    public void What_is_written_is_read()
    {
        var read = ServerModel.Read(new MemoryStream(Model.Bytes()));
        Assert.Equal(12, read.Round);
        Assert.Equal(Model.Weights, read.Weights);
        Assert.Equal(Model.State, read.State);
    }

    [Fact]
    public void Damage_is_found()
    {
        var bytes = Model.Bytes();
        Gen.Int[0, bytes.Length - 1].Sample(position =>
        {
            var damaged = bytes.ToArray();
            damaged[position] ^= 4;
            Assert.Throws<SoraException>(() => ServerModel.Read(new MemoryStream(damaged)));
            Assert.Throws<SoraException>(() => ServerModel.Read(new MemoryStream(bytes, 0, position)));
        }, iter: 20);
    }
}
