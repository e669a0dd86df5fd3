using Sora.Model.Native;
using TorchSharp;
using static TorchSharp.torch;

namespace Sora.Model.Training;

/// <summary>
/// A trainer's state as it was at one step, or part of it, copied into host memory of its own, so that another thread can read it
/// while training goes on. The memory is used again for the next copy.
/// </summary>
public sealed class StateSnapshot : IDisposable
{
    private readonly StateBuffers _buffers;
    private readonly List<(int Part, FlatRun Run)> _runs = [];

    internal StateSnapshot(FlatLayout layout, IEnumerable<string> optimizerStates, IReadOnlySet<string>? weights, IReadOnlySet<string>? optimizer, Device device)
    {
        string[] prefixes = ["", .. optimizerStates.Select(state => $"{state}.")];
        for (var part = 0; part < prefixes.Length; part++)
        {
            var (prefix, wanted) = (prefixes[part], part == 0 ? weights : optimizer);
            foreach (var run in layout.Runs(name => wanted?.Contains(prefix + name) != false))
                _runs.Add((part, run));
        }
        _buffers = new StateBuffers(_runs.Select(one => one.Run.Length), device);
        Weights = [.. Named(first: true)];
        Optimizer = [.. Named(first: false)];

        IEnumerable<NamedTensor> Named(bool first) => _runs.Zip(_buffers.Parts).Where(one => one.First.Part == 0 == first)
            .SelectMany(one => FlatLayout.Named(one.Second, one.First.Run, prefixes[one.First.Part]));
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
        for (var index = 0; index < _runs.Count; index++)
        {
            var (part, run) = _runs[index];
            Copy(state[part].narrow(0, run.Start, run.Length), _buffers.Parts[index], last: index == _runs.Count - 1);
        }
        Step = step;
    }

    private static void Copy(Tensor from, Tensor to, bool last)
    {
        // Copies from a GPU into pinned memory are queued one behind the other and awaited by the last.
        if (from.device_type != DeviceType.CPU)
        {
            to.copy_(from, nonBlocking: !last);
            return;
        }
        HostCopy.Copy(HostMemory.AddressOf(from), HostMemory.AddressOf(to), to.numel() * to.element_size());
    }
}
