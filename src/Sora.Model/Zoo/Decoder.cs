using Sora.Protocol.Jobs;
using TorchSharp.Modules;
using static TorchSharp.torch;
using static TorchSharp.torch.nn;

namespace Sora.Model.Zoo;

/// <summary>A decoder-only transformer. GPT-2 (Radford et al. 2019) and Llama (Touvron et al. 2023) are both just settings.</summary>
internal sealed class Decoder : LanguageModel
{
    private readonly DecoderShape _shape;
    private readonly WeightFactory _weights;
    private readonly Embedding _tokens;         // [vocab, hidden]
    private readonly Parameter? _positionTable; // [positions, hidden]
    private readonly DecoderBlock[] _blocks;
    private readonly Normalization _norm;
    private readonly Projection _head;              // the token table itself when tied

    public Decoder(DecoderShape shape, Device device, ScalarType dtype) : base(nameof(Decoder))
    {
        _shape = shape;
        _weights = new WeightFactory(device, dtype);
        var settings = shape.Settings;
        var normal = InitialValue.Normal(settings.InitializerRange);

        _tokens = _weights.AddEmbedding("model.embed_tokens.weight", normal, shape.VocabSize, settings.HiddenSize);
        var rotary = default(RotaryEmbedding);
        if (settings.PositionEmbedding == PositionKind.Learned)
            _positionTable = _weights.Add("model.embed_positions.weight", normal, shape.Positions, settings.HiddenSize);
        else
            rotary = new RotaryEmbedding(shape.Positions, shape.HeadSize, settings.RopeTheta, device, dtype);
        _blocks = [.. Enumerable.Range(0, settings.NumHiddenLayers).Select(i => new DecoderBlock(shape, i, rotary, _weights))];
        Adaptable = [.. _weights.Projections];
        _norm = new Normalization(settings, "model.norm", _weights);
        _head = settings.TieWordEmbeddings
            ? new Projection(_tokens.weight!, null)
            : _weights.AddLinear(normal, bias: false, settings.HiddenSize, ("lm_head", shape.VocabSize));

        foreach (var weight in _weights.Weights)
            register_parameter(weight.Parts[0].Name.Replace('.', '_'), weight.Value);
        Stages = [tokens => Embed(tokens, 0), .. _blocks.Select<DecoderBlock, Func<Tensor, Tensor>>(block => hidden => block.Forward(hidden, training)), Logits];
    }

    public override int VocabSize => _shape.VocabSize;

    public override int MaxPositions => _shape.Positions;

    internal override IReadOnlyList<Weight> Weights => _weights.Weights;

    internal override IReadOnlyList<Projection> Adaptable { get; }

    internal override IReadOnlyList<Func<Tensor, Tensor>> Stages { get; }

    public override double FlopsPerToken(int contextLength)
    {
        var lookedUp = (_positionTable?.numel() ?? 0) + (_shape.Settings.TieWordEmbeddings ? 0 : _tokens.weight!.numel());
        return 6.0 * (ParameterCount - lookedUp) + 12.0 * _blocks.Length * _shape.Heads * _shape.HeadSize * contextLength;
    }

    public override DecodingState NewDecodingState() =>
        new DecoderState([.. _blocks.Select(_ => new KeyValueCache(_shape, _weights.Device, _weights.Dtype))]);

    public override Tensor Decode(Tensor tokens, DecodingState state)
    {
        var time = tokens.shape[1];
        if (state.Length + time > MaxPositions)
            throw new SoraException($"The model holds {MaxPositions} positions; {state.Length} are used and {time} more were given. Shorten the prompt or generate fewer tokens.", ExitCode.InvalidInput);
        using var _ = no_grad();
        using var scope = NewDisposeScope();
        var hidden = Embed(tokens, state.Length);
        for (var i = 0; i < _blocks.Length; i++)
            hidden = _blocks[i].Forward(hidden, training: false, ((DecoderState)state).Caches[i]);
        state.Length += (int)time;
        return Logits(hidden.narrow(1, time - 1, 1)).view(-1).MoveToOuterDisposeScope();
    }

    // [batch, time] to [batch, time, hidden]
    private Tensor Embed(Tensor tokens, long first)
    {
        var hidden = _tokens.forward(tokens);
        if (_positionTable is not null)
            hidden = hidden + _positionTable.narrow(0, first, tokens.shape[1]);
        return training && _shape.Settings.Dropout > 0 ? functional.dropout(hidden, _shape.Settings.Dropout) : hidden;
    }

    // [batch, time, hidden] to [batch, time, vocab]
    private Tensor Logits(Tensor hidden) => _head.Forward(_norm.Forward(hidden));
}
