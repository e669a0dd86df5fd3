using TorchSharp;
using static TorchSharp.torch;

namespace Sora.Model.Zoo;

/// <summary>
/// Rotary position embedding (Su et al. 2021) in the half-rotation layout of Llama's published weights: coordinate i of a
/// head is paired with i + size/2, and the pair is turned by position * theta^(-2i/size).
/// </summary>
internal sealed class RotaryEmbedding
{
    private readonly Tensor _cosine; // [positions, 1, head size]
    private readonly Tensor _sine;   // [positions, 1, head size], first half negated

    public RotaryEmbedding(int positions, int headSize, double theta, Device device, ScalarType dtype)
    {
        using var scope = NewDisposeScope();
        using var _ = no_grad();
        // On the CPU wherever the tables go, for the same bits; without memory where only shapes are asked for.
        var place = device.type == DeviceType.META ? device : CPU;
        var frequency = pow(theta, arange(0, headSize, 2, dtype: ScalarType.Float64, device: place) * (-1.0 / headSize)); // [size/2]
        var angle = outer(arange(positions, dtype: ScalarType.Float64, device: place), frequency);                        // [positions, size/2]
        _cosine = cat([angle.cos(), angle.cos()], -1).unsqueeze(1).to(dtype, device).DetachFromDisposeScope();
        _sine = cat([-angle.sin(), angle.sin()], -1).unsqueeze(1).to(dtype, device).DetachFromDisposeScope();
    }

    /// <summary>Turns the heads of consecutive positions.</summary>
    /// <param name="heads">[batch, time, heads, head size]</param>
    /// <param name="first">Position of the first.</param>
    public Tensor Rotate(Tensor heads, long first)
    {
        var (time, size) = (heads.shape[1], heads.shape[3]);
        // The other half of each pair moves under this one; its sign is in the sine table.
        return addcmul(heads * _cosine.narrow(0, first, time), heads.roll(size / 2, -1), _sine.narrow(0, first, time), 1);
    }
}
