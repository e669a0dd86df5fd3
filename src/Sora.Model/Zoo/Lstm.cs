using Sora.Protocol.Jobs;
using static TorchSharp.torch;

namespace Sora.Model.Zoo;

/// <summary>An LSTM language model: embedding, stacked LSTM, a linear head on every step.</summary>
internal sealed class Lstm : LanguageModel
{
    private readonly WeightFactory _weights;
    private readonly LstmStack _stack;
    private readonly Projection _head;
    private readonly long _lookedUp;

    public Lstm(ModelSettings settings, int vocabSize, int contextLength, Device device, ScalarType dtype) : base(nameof(Lstm))
    {
        VocabSize = vocabSize;
        MaxPositions = settings.MaxPositionEmbeddings ?? contextLength;
        _weights = new WeightFactory(device, dtype);
        _stack = new LstmStack(settings, vocabSize, _weights);
        _lookedUp = Weights[0].Value.numel();
        _head = _weights.AddLinear(InitialValue.Normal(settings.InitializerRange), bias: true, settings.HiddenSize, ("lm_head", vocabSize));

        foreach (var weight in _weights.Weights)
            register_parameter(weight.Parts[0].Name.Replace('.', '_'), weight.Value);
        Stages =
        [
            tokens => _stack.Embed(tokens, training),
            .. Enumerable.Range(0, _stack.LayerCount).Select<int, Func<Tensor, Tensor>>(layer => hidden => _stack.Layer(layer, hidden, training).Output),
            hidden => _head.Forward(hidden),
        ];
    }

    public override int VocabSize { get; }

    /// <summary>An LSTM has no positions: this is the length it is trained at.</summary>
    public override int MaxPositions { get; }

    internal override IReadOnlyList<Weight> Weights => _weights.Weights;

    internal override IReadOnlyList<Func<Tensor, Tensor>> Stages { get; }

    public override double FlopsPerToken(int contextLength) => 6.0 * (ParameterCount - _lookedUp);

    public override DecodingState NewDecodingState() => new LstmState(_stack.LayerCount);

    public override Tensor Decode(Tensor tokens, DecodingState state)
    {
        using var _ = no_grad();
        using var scope = NewDisposeScope();
        var recurrent = (LstmState)state;
        var hidden = _stack.Embed(tokens, training: false);
        for (var i = 0; i < _stack.LayerCount; i++)
        {
            var (output, last, cell) = _stack.Layer(i, hidden, training: false, recurrent.Layers[i]);
            recurrent.Replace(i, last, cell);
            hidden = output;
        }
        state.Length += (int)tokens.shape[1];
        return _head.Forward(hidden.narrow(1, hidden.shape[1] - 1, 1)).view(-1).MoveToOuterDisposeScope();
    }
}

/// <summary>Hidden and cell state of every layer after the last token.</summary>
internal sealed class LstmState(int layers) : DecodingState
{
    public (Tensor Hidden, Tensor Cell)?[] Layers { get; } = new (Tensor, Tensor)?[layers];

    public void Replace(int layer, Tensor hidden, Tensor cell)
    {
        Release(layer);
        Layers[layer] = (hidden.DetachFromDisposeScope(), cell.DetachFromDisposeScope());
    }

    public override void Dispose()
    {
        for (var i = 0; i < Layers.Length; i++)
            Release(i);
    }

    private void Release(int layer)
    {
        Layers[layer]?.Hidden.Dispose();
        Layers[layer]?.Cell.Dispose();
        Layers[layer] = null;
    }
}
