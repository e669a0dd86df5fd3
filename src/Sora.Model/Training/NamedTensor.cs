using static TorchSharp.torch;

namespace Sora.Model.Training;

/// <summary>A tensor with the name it has in files. Does not own the tensor.</summary>
public readonly record struct NamedTensor(string Name, Tensor Value);
