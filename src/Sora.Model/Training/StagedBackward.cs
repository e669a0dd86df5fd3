using Sora.Model.Zoo;
using TorchSharp;
using static TorchSharp.torch;

namespace Sora.Model.Training;

/// <summary>
/// Forward and backward of one micro-batch, one stage of the model at a time. The graph is cut between stages, and each
/// stage's backward starts from the gradient of the next one's input. So activations can be recomputed stage by stage (Chen
/// et al. 2016) with exactly the arithmetic, and the same bits, as when they are kept.
/// </summary>
internal static class StagedBackward
{
    /// <summary>Adds the gradient of the summed cross-entropy to the weights' gradients and returns the sum, in nats.</summary>
    /// <param name="model">The model, in training mode.</param>
    /// <param name="input">[batch, time] int64</param>
    /// <param name="target">[batch, time] int64; -1: no target</param>
    /// <param name="seed">Of the dropout; each stage draws from a generator of its own, so that it can be run again.</param>
    /// <param name="recompute">Keep only what passes between stages and compute the rest again in backward.</param>
    public static double Run(LanguageModel model, Tensor input, Tensor target, long seed, bool recompute)
    {
        using var scope = NewDisposeScope();
        var last = model.Stages.Count - 1;
        var inputs = new Tensor[last + 1];
        var outputs = new Tensor?[last + 1];

        inputs[0] = input;
        for (var stage = 0; stage < last; stage++)
        {
            var output = Forward(stage);
            // Below the first weight that is trained there is nothing to run backward.
            inputs[stage + 1] = output.detach().requires_grad_(output.requires_grad);
            // Recorded and dropped rather than not recorded: without a graph to build, libtorch may choose other kernels.
            if (recompute)
                output.Dispose();
            else
                outputs[stage] = output;
        }

        var loss = Loss(Forward(last), target);
        loss.backward();
        for (var stage = last - 1; stage >= 0 && inputs[stage + 1].requires_grad; stage--)
        {
            using var stageScope = NewDisposeScope();
            autograd.backward([outputs[stage] ?? Forward(stage)], [inputs[stage + 1].grad!]);
            outputs[stage]?.Dispose();
            inputs[stage + 1].Dispose();
        }
        return loss.to_type(ScalarType.Float64).item<double>();

        Tensor Forward(int stage)
        {
            using var inner = NewDisposeScope();
            Reseed(RandomSeed.Of(seed, stage), input.device);
            return model.Stages[stage](inputs[stage]).MoveToOuterDisposeScope();
        }
    }

    /// <summary>Cross-entropy summed over the targets, in nats and fp32 whatever the model computes in.</summary>
    /// <param name="logits">[batch, time, vocab]</param>
    /// <param name="target">[batch, time] int64; -1: no target</param>
    public static Tensor Loss(Tensor logits, Tensor target)
    {
        if (logits.dtype is not (ScalarType.Float32 or ScalarType.Float64))
            logits = logits.to_type(ScalarType.Float32);
        return nn.functional.cross_entropy(logits.view(-1, logits.shape[^1]), target.reshape(-1), ignore_index: -1, reduction: nn.Reduction.Sum);
    }

    private static void Reseed(long seed, Device device)
    {
        manual_seed(seed);
        if (device.type == DeviceType.CUDA)
            cuda.manual_seed(seed);
    }
}
