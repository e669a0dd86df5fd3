using Sora.Cli.Train;
using Sora.Protocol.Jobs;

namespace Sora.Cli.Tests.Train;

public class NetworkSizeTests
{
    [Fact]
    public void A_gpt2_has_the_124_million_parameters_it_is_known_for()
    {
        var model = new ModelSettings
        {
            HiddenSize = 768,
            NumHiddenLayers = 12,
            NumAttentionHeads = 12,
            PositionEmbedding = PositionKind.Learned,
            Norm = NormKind.LayerNorm,
            Activation = ActivationKind.Gelu,
            Bias = true,
        };

        Assert.Equal(124_439_808, NetworkSize.Of(new TrainingJob { Model = model, ContextLength = 1024 }, vocabSize: 50257).Parameters);
    }

    // Both would take gigabytes if anything were computed.
    [Theory]
    [InlineData(ModelKind.Decoder, 64, 2_000_000_000)]
    [InlineData(ModelKind.Lstm, 200_000, 64)]
    public void Measuring_takes_no_memory(ModelKind kind, int width, int context) =>
        Assert.True(NetworkSize.Of(new TrainingJob { Model = new ModelSettings { Type = kind, HiddenSize = width, NumHiddenLayers = 2, NumAttentionHeads = 4 }, ContextLength = context }, vocabSize: 100).Parameters > 0);

    [Fact]
    public void A_network_beyond_any_memory_is_refused_in_plain_words() =>
        Assert.Contains("larger than any memory", Assert.Throws<SoraException>(
            () => NetworkSize.Of(new TrainingJob { Model = new ModelSettings { HiddenSize = 2_000_000_000, NumAttentionHeads = 4 }, ContextLength = 8 }, vocabSize: 2_000_000_000)).Message);

    [Fact]
    public void An_lstm_counts_its_gates()
    {
        var size = NetworkSize.Of(new TrainingJob { Model = new ModelSettings { Type = ModelKind.Lstm, HiddenSize = 16, NumHiddenLayers = 1, EmbeddingSize = 8 } }, vocabSize: 100);

        // Embedding, four gates with two matrices and two biases each, and a head with a bias.
        Assert.Equal(100 * 8 + 4 * 16 * (8 + 16 + 2) + 100 * (16 + 1), size.Parameters);
    }
}
