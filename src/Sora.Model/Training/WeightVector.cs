using Sora.Model.Checkpoints;
using static TorchSharp.torch;

namespace Sora.Model.Training;

/// <summary>
/// A trainer's trained weights as one vector, without the gaps of its layout: those of <see cref="Trainer.Weights"/>, one after the other,
/// each in the order of its elements. Two trainers of one job agree on what stands where.
/// </summary>
public static class WeightVector
{
    /// <summary>Copies the weights.</summary>
    public static float[] Read(Trainer trainer)
    {
        using var weights = new OwnedTensors(trainer.Weights);
        var vector = new float[weights.Tensors.Sum(weight => weight.Value.numel())];
        var offset = 0;
        foreach (var weight in weights.Tensors)
        {
            using var host = weight.Value.cpu();
            using var flat = host.contiguous();
            flat.data<float>().CopyTo(vector.AsSpan(offset, (int)flat.numel()));
            offset += (int)flat.numel();
        }
        return vector;
    }

    /// <summary>Sets the weights, and the optimizer to remembering nothing, as at the beginning of a run.</summary>
    /// <param name="trainer">The trainer.</param>
    /// <param name="step">The step it then stands at: which data comes next, and with what learning rate.</param>
    /// <param name="vector">As <see cref="Read"/> gave it, of any trainer of the job.</param>
    /// <exception cref="ArgumentException">It has another length.</exception>
    public static void Begin(Trainer trainer, long step, ReadOnlySpan<float> vector)
    {
        using var _ = no_grad();
        using var weights = new OwnedTensors(trainer.Weights);
        using var state = new OwnedTensors(trainer.OptimizerState);
        var length = weights.Tensors.Sum(weight => weight.Value.numel());
        if (vector.Length != length)
            throw new ArgumentException($"The vector has {vector.Length} elements, the trainer {length} weights.", nameof(vector));
        foreach (var part in state.Tensors)
            part.Value.zero_();
        var offset = 0;
        foreach (var weight in weights.Tensors)
        {
            var count = (int)weight.Value.numel();
            using var values = tensor(vector.Slice(offset, count).ToArray(), weight.Value.shape);
            weight.Value.copy_(values);
            offset += count;
        }
        // The views are the trainer's own memory: this makes it compute with what lies there now.
        trainer.Restore(step, weights.Tensors, state.Tensors);
    }
}
