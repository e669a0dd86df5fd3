using static TorchSharp.torch;

namespace Sora.Model.Training;

/// <summary>
/// A trainer's state as it was at one step, copied into host memory of its own, so that another thread can read it while
/// training goes on. The memory is used again for the next copy.
/// </summary>
public sealed class StateSnapshot : IDisposable
{
    private readonly StateBuffers _buffers;

    internal StateSnapshot(StateBuffers buffers, FlatLayout layout, IEnumerable<string> optimizerStates)
    {
        _buffers = buffers;
        Weights = [.. layout.Named(buffers.Parts[0])];
        Optimizer = [.. optimizerStates.Zip(buffers.Parts.Skip(1)).SelectMany(state => layout.Named(state.Second, state.First + "."))];
    }

    /// <summary>Steps that had been committed.</summary>
    public long Step { get; private set; }

    /// <summary>As <see cref="Trainer.Weights"/>; views that belong to the snapshot.</summary>
    public IReadOnlyList<NamedTensor> Weights { get; }

    /// <summary>As <see cref="Trainer.OptimizerState"/>; views that belong to the snapshot.</summary>
    public IReadOnlyList<NamedTensor> Optimizer { get; }

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach (var view in Weights.Concat(Optimizer))
            view.Value.Dispose();
        _buffers.Dispose();
    }

    internal void Take(long step, IReadOnlyList<Tensor> state)
    {
        using var _ = no_grad();
        using var scope = NewDisposeScope();
        // Copies from a GPU into pinned memory are queued one behind the other and awaited by the last.
        for (var part = 0; part < state.Count; part++)
            _buffers.Parts[part].copy_(state[part], nonBlocking: part < state.Count - 1);
        Step = step;
    }
}
