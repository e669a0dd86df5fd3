using Sora.Model.Native;
using Sora.Model.Training;
using Sora.Protocol.Jobs;
using TorchSharp;
using static TorchSharp.torch;

namespace Sora.Model.Privacy;

/// <summary>
/// The two things DP-SGD does to gradients. They work on gradients of a loss summed over a sample's tokens, as the trainer sums
/// them; the options speak of the sample's mean loss, so everything here is <c>context_length</c> times as large.
/// </summary>
internal sealed class DpSgd
{
    private readonly DpSgdOptions _options;
    private readonly double _bound;

    public DpSgd(DpSgdOptions options, TrainingJob job)
    {
        options.Check();
        _options = options;
        _bound = options.MaxGradNorm * job.ContextLength;
        ExpectedTokens = (options.ExpectedBatchSize ?? job.GlobalBatchSize) * job.ContextLength;
    }

    /// <summary>What the noisy sum is divided by.</summary>
    public double ExpectedTokens { get; }

    /// <summary>
    /// Adds a sample's gradient to a sum, cut to the bound. One that is not finite adds nothing: there is no factor that would bound
    /// it. (The loss is not finite either, then, and ends the step.)
    /// </summary>
    public void AddClipped(Tensor sum, Tensor gradient)
    {
        using var scope = NewDisposeScope();
        var factor = Factor(gradient.to_type(ScalarType.Float64).norm().item<double>());
        if (factor > 0)
            sum.add_(gradient, alpha: factor);
    }

    /// <summary>Adds the step's noise to the sum of all lanes: the same whoever adds it, and however often.</summary>
    /// <param name="sum">Laid out as the weights.</param>
    /// <param name="layout">Where they lie; the gaps between them stay zero.</param>
    /// <param name="step">Step, from 0.</param>
    public unsafe void AddNoise(Tensor sum, FlatLayout layout, long step)
    {
        if (_options.NoiseMultiplier == 0)
            return;
        using var scope = NewDisposeScope();
        using var noise = new GaussianNoise(_options.Secret.Span, _options.Context, step);
        var values = zeros(layout.Length, dtype: ScalarType.Float32);
        var address = (float*)HostMemory.AddressOf(values);
        foreach (var (weight, offset) in layout.Places)
            noise.Fill(new Span<float>(address + offset, checked((int)weight.Value.numel())), offset, _options.NoiseMultiplier * _bound);
        sum.add_(values.to(sum.device));
    }

    internal double Factor(double norm) => !double.IsFinite(norm) ? 0 : norm > _bound ? _bound / norm : 1;
}
