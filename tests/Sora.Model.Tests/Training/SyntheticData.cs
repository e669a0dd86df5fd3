using Sora.Model.Data;
using Sora.Model.Training;
using Sora.Protocol.Generations;

namespace Sora.Model.Tests.Training;

/// <summary>Tokens that are a hash of their place; every second one repeats the one before, so that there is something to learn.</summary>
internal sealed class SyntheticData(int vocabSize, int batch, int context, long validationBatches = 5) : IBatchSource
{
    public long ValidationBatches => validationBatches;

    public double ValidationBytesPerToken => 2;

    public void Announce(long step, LaneRange lanes)
    {
    }

    public void Read(long step, int lane, int micro, Span<int> tokens) => Fill(tokens, RandomSeed.Of(step, lane, micro));

    public void ReadValidation(long index, Span<int> tokens)
    {
        Fill(tokens, RandomSeed.Of(-1, index));
        if (index == validationBatches - 1)
            tokens[^(context + 1)..].Fill(-1); // the last row is past the end
    }

    public void Dispose()
    {
    }

    private void Fill(Span<int> tokens, long seed)
    {
        Assert.Equal(batch * (context + 1), tokens.Length);
        for (var i = 0; i < tokens.Length; i++)
            tokens[i] = i % 2 == 1 ? tokens[i - 1] : (int)((ulong)RandomSeed.Of(seed, i) % (ulong)vocabSize);
    }
}
