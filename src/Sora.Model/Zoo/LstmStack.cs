using Sora.Protocol.Jobs;
using TorchSharp;
using TorchSharp.Modules;
using static TorchSharp.torch;
using static TorchSharp.torch.nn;

namespace Sora.Model.Zoo;

/// <summary>
/// Token embedding and stacked LSTM layers (Hochreiter and Schmidhuber 1997), batch first. One module a layer and not one for
/// all: dropout between layers then draws from the seeded generator on every device (cuDNN's own dropout does not).
/// </summary>
internal sealed class LstmStack
{
    private readonly double _dropout;
    private readonly Embedding _tokens; // [vocab, embedding]
    private readonly LSTM[] _layers;

    public LstmStack(ModelSettings settings, int vocabSize, WeightFactory weights)
    {
        var embedding = settings.EmbeddingSize ?? settings.HiddenSize;
        _dropout = settings.Dropout;
        _tokens = weights.AddEmbedding("model.embed_tokens.weight", InitialValue.Normal(settings.InitializerRange), vocabSize, embedding);
        HiddenSize = settings.HiddenSize;
        // PyTorch's own initial values: uniform within 1/sqrt(hidden size).
        var start = InitialValue.Uniform(1 / Math.Sqrt(settings.HiddenSize));
        if (weights.Device.type == DeviceType.META)
        {
            // libtorch's module would first take its memory on the CPU.
            _layers = [];
            for (var i = 0; i < settings.NumHiddenLayers; i++)
                AddShapes(i, i == 0 ? embedding : settings.HiddenSize, start, weights);
            return;
        }
        _layers = [.. Enumerable.Range(0, settings.NumHiddenLayers).Select(i =>
            LSTM(i == 0 ? embedding : settings.HiddenSize, settings.HiddenSize, batchFirst: true, device: weights.Device, dtype: weights.Dtype))];
        for (var i = 0; i < _layers.Length; i++)
            foreach (var (name, value) in _layers[i].named_parameters())
                weights.Add(new Weight((Parameter)value.DetachFromDisposeScope(), start, $"model.lstm.{name[..^1]}{i}")); // weight_ih_l0 of layer i is weight_ih_l{i}
    }

    public int HiddenSize { get; }

    public int LayerCount => _layers.Length;

    /// <summary>[batch, time] to [batch, time, embedding]</summary>
    public Tensor Embed(Tensor tokens, bool training) => Dropout(_tokens.forward(tokens), training);

    /// <summary>[batch, time, width] to [batch, time, hidden]; the state is that after the last token.</summary>
    public (Tensor Output, Tensor Hidden, Tensor Cell) Layer(int index, Tensor input, bool training, (Tensor Hidden, Tensor Cell)? state = null)
    {
        var (output, hidden, cell) = _layers[index].forward(input, state);
        return (Dropout(output, training), hidden, cell);
    }

    private void AddShapes(int layer, int inputs, InitialValue start, WeightFactory weights)
    {
        var gates = 4L * HiddenSize;
        weights.Add($"model.lstm.weight_ih_l{layer}", start, gates, inputs);
        weights.Add($"model.lstm.weight_hh_l{layer}", start, gates, HiddenSize);
        weights.Add($"model.lstm.bias_ih_l{layer}", start, gates);
        weights.Add($"model.lstm.bias_hh_l{layer}", start, gates);
    }

    private Tensor Dropout(Tensor values, bool training) => training && _dropout > 0 ? functional.dropout(values, _dropout) : values;
}
