using Sora.Model.Native;
using Sora.Protocol.Jobs;
using TorchSharp.Modules;
using static TorchSharp.torch;
using static TorchSharp.torch.nn;

namespace Sora.Model.Zoo;

/// <summary>RMSNorm (Zhang and Sennrich 2019) or LayerNorm (Ba et al. 2016) over the last dimension.</summary>
internal sealed class Normalization
{
    private readonly Parameter _weight;
    private readonly Parameter? _bias;
    private readonly double _epsilon;

    public Normalization(ModelSettings settings, string name, WeightFactory weights)
    {
        _epsilon = settings.NormEps;
        _weight = weights.Add(name + ".weight", InitialValue.Constant(1), settings.HiddenSize);
        if (settings.Norm == NormKind.LayerNorm)
            _bias = weights.Add(name + ".bias", InitialValue.Constant(0), settings.HiddenSize);
    }

    public Tensor Forward(Tensor hidden) => _bias is null
        ? Dispatcher.RmsNorm(hidden, _weight, _epsilon)
        : functional.layer_norm(hidden, [_weight.shape[0]], _weight, _bias, _epsilon);
}
