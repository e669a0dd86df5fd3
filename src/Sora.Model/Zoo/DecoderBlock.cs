using Sora.Model.Native;
using Sora.Protocol.Jobs;
using static TorchSharp.torch;
using static TorchSharp.torch.nn;

namespace Sora.Model.Zoo;

/// <summary>One pre-norm block: causal self-attention, then a feed-forward layer, each added to the residual stream.</summary>
internal sealed class DecoderBlock
{
    private readonly DecoderShape _shape;
    private readonly RotaryEmbedding? _rotary;
    private readonly Normalization _attentionNorm;
    private readonly Projection _queryKeyValue;
    private readonly Projection _attentionOutput;
    private readonly Normalization _feedForwardNorm;
    private readonly Projection _up; // SwiGLU: gate and up
    private readonly Projection _down;

    public DecoderBlock(DecoderShape shape, int index, RotaryEmbedding? rotary, WeightFactory weights)
    {
        _shape = shape;
        _rotary = rotary;
        var settings = shape.Settings;
        var name = $"model.layers.{index}";
        var normal = InitialValue.Normal(settings.InitializerRange);
        // GPT-2: what is added to the residual stream starts smaller, so that its variance does not grow with depth.
        var residual = InitialValue.Normal(settings.InitializerRange / Math.Sqrt(2.0 * settings.NumHiddenLayers));

        _attentionNorm = new Normalization(settings, $"{name}.input_layernorm", weights);
        _queryKeyValue = weights.AddLinear(normal, settings.Bias, settings.HiddenSize,
            ($"{name}.self_attn.q_proj", shape.Heads * shape.HeadSize),
            ($"{name}.self_attn.k_proj", shape.KeyValueHeads * shape.HeadSize),
            ($"{name}.self_attn.v_proj", shape.KeyValueHeads * shape.HeadSize));
        _attentionOutput = weights.AddLinear(residual, settings.Bias, shape.Heads * shape.HeadSize, ($"{name}.self_attn.o_proj", settings.HiddenSize));
        _feedForwardNorm = new Normalization(settings, $"{name}.post_attention_layernorm", weights);
        _up = settings.Activation == ActivationKind.SwiGlu
            ? weights.AddLinear(normal, settings.Bias, settings.HiddenSize, ($"{name}.mlp.gate_proj", shape.Intermediate), ($"{name}.mlp.up_proj", shape.Intermediate))
            : weights.AddLinear(normal, settings.Bias, settings.HiddenSize, ($"{name}.mlp.up_proj", shape.Intermediate));
        _down = weights.AddLinear(residual, settings.Bias, shape.Intermediate, ($"{name}.mlp.down_proj", settings.HiddenSize));
    }

    /// <summary>[batch, time, hidden] to the same; with a cache, the tokens follow those it holds.</summary>
    public Tensor Forward(Tensor hidden, bool training, KeyValueCache? cache = null)
    {
        hidden = hidden + Dropout(Attend(_attentionNorm.Forward(hidden), training, cache), training);
        return hidden + Dropout(_down.Forward(Activate(_up.Forward(_feedForwardNorm.Forward(hidden), training)), training), training);
    }

    private Tensor Attend(Tensor hidden, bool training, KeyValueCache? cache)
    {
        var (batch, time) = (hidden.shape[0], hidden.shape[1]);
        var (query, key, value) = Heads(_queryKeyValue.Forward(hidden, training), cache?.Length ?? 0);
        if (cache is not null)
            (key, value) = cache.Append(key, value);
        var attended = Attention.Causal(query, key, value, training ? _shape.Settings.Dropout : 0); // [batch, heads, time, head size]
        return _attentionOutput.Forward(attended.transpose(1, 2).reshape(batch, time, -1), training);
    }

    // [batch, time, heads * head size] to three of [batch, heads, time, head size], queries and keys turned to their positions.
    private (Tensor Query, Tensor Key, Tensor Value) Heads(Tensor projected, long first)
    {
        var (batch, time) = (projected.shape[0], projected.shape[1]);
        int heads = _shape.Heads, pairs = _shape.KeyValueHeads;
        projected = projected.view(batch, time, heads + 2 * pairs, _shape.HeadSize);
        // `split` and not `narrow`: its gradient is one concatenation instead of zero-filled sums.
        if (_rotary is null)
        {
            var parts = projected.split([heads, pairs, pairs], 2);
            return (parts[0].transpose(1, 2), parts[1].transpose(1, 2), parts[2].transpose(1, 2));
        }
        var both = projected.split([heads + pairs, pairs], 2);
        var turned = _rotary.Rotate(both[0], first).split([heads, pairs], 2);
        return (turned[0].transpose(1, 2), turned[1].transpose(1, 2), both[1].transpose(1, 2));
    }

    private Tensor Activate(Tensor wide)
    {
        if (_shape.Settings.Activation == ActivationKind.Gelu)
            return functional.gelu(wide, TorchSharp.Modules.GELU.Approximate.tanh);
        var parts = wide.chunk(2, -1);
        return functional.silu(parts[0]) * parts[1];
    }

    private Tensor Dropout(Tensor hidden, bool training) =>
        training && _shape.Settings.Dropout > 0 ? functional.dropout(hidden, _shape.Settings.Dropout) : hidden;
}
