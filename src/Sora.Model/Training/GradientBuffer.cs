using static TorchSharp.torch;

namespace Sora.Model.Training;

/// <summary>A flat gradient, and the views of it that backward adds into.</summary>
internal sealed class GradientBuffer : IDisposable
{
    private readonly FlatLayout _layout;
    private readonly Tensor[] _views;

    public GradientBuffer(FlatLayout layout, ScalarType dtype, Device device)
    {
        _layout = layout;
        Flat = zeros(layout.Length, dtype: dtype, device: device).DetachFromDisposeScope();
        _views = [.. layout.Places.Select(place => FlatLayout.View(Flat, place).DetachFromDisposeScope())];
    }

    public Tensor Flat { get; }

    /// <summary>Makes this the place where the weights' gradients accumulate.</summary>
    public void Attach()
    {
        for (var i = 0; i < _views.Length; i++)
            _layout.Places[i].Weight.Value.grad = _views[i];
    }

    public void Dispose()
    {
        foreach (var view in _views)
            view.Dispose();
        Flat.Dispose();
    }
}

/// <summary>Gradient buffers, lent out for a step.</summary>
internal sealed class GradientBufferPool(FlatLayout layout, Device device) : IDisposable
{
    private readonly Stack<GradientBuffer> _free = new();
    private readonly HashSet<GradientBuffer> _lent = [];

    public GradientBuffer Rent()
    {
        var buffer = _free.TryPop(out var free) ? free : new GradientBuffer(layout, ScalarType.Float32, device);
        _lent.Add(buffer);
        return buffer;
    }

    public void Return(GradientBuffer buffer)
    {
        _lent.Remove(buffer);
        _free.Push(buffer);
    }

    /// <summary>What is lent stays with the borrower after the step.</summary>
    public void Hold(GradientBuffer buffer) => _lent.Remove(buffer);

    /// <summary>What was held is lent for this step again.</summary>
    public void LendAgain(GradientBuffer buffer) => _lent.Add(buffer);

    /// <summary>Takes back whatever is lent: a step may break off anywhere.</summary>
    public void ReturnAll()
    {
        foreach (var buffer in _lent)
            _free.Push(buffer);
        _lent.Clear();
    }

    public void Dispose()
    {
        ReturnAll();
        while (_free.TryPop(out var buffer))
            buffer.Dispose();
    }
}
