using Sora.Protocol.Jobs;
using TorchSharp;
using static TorchSharp.torch;

namespace Sora.Model.Zoo;

/// <summary>An LSTM that judges a whole sequence: embedding, stacked LSTM, a linear head on the last step.</summary>
internal sealed class LstmClassifier : nn.Module<Tensor, Tensor>
{
    private readonly WeightFactory _weights;
    private readonly LstmStack _stack;
    private readonly Projection _head;

    public LstmClassifier(ModelSettings settings, int vocabSize, int classes, Device device, ScalarType dtype) : base(nameof(LstmClassifier))
    {
        _weights = new WeightFactory(device, dtype);
        _stack = new LstmStack(settings, vocabSize, _weights);
        _head = _weights.AddLinear(InitialValue.Normal(settings.InitializerRange), bias: true, settings.HiddenSize, ("classifier", classes));
        foreach (var weight in _weights.Weights)
            register_parameter(weight.Parts[0].Name.Replace('.', '_'), weight.Value);
    }

    public IReadOnlyList<Weight> Weights => _weights.Weights;

    /// <summary>Logits of the classes.</summary>
    /// <param name="tokens">[batch, time] int64</param>
    /// <returns>[batch, classes]</returns>
    public override Tensor forward(Tensor tokens)
    {
        var hidden = _stack.Embed(tokens, training);
        for (var i = 0; i < _stack.LayerCount; i++)
            hidden = _stack.Layer(i, hidden, training).Output;
        return _head.Forward(hidden.select(1, -1));
    }
}
