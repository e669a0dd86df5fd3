using Sora.Model.Training;
using Sora.Model.Zoo.Adapters;
using Sora.Protocol.Jobs;
using TorchSharp;
using static TorchSharp.torch;

namespace Sora.Model.Zoo;

/// <summary>
/// A network that predicts the next token. Knows nothing of ranks, sockets or actors: single-device model code.
/// Parameter names follow the Hugging Face Llama layout (see <c>Checkpoints</c> for what is written to disk).
/// </summary>
public abstract class LanguageModel(string name) : nn.Module<Tensor, Tensor>(name)
{
    /// <summary>Entries of the vocabulary.</summary>
    public abstract int VocabSize { get; }

    /// <summary>Longest input, in tokens.</summary>
    public abstract int MaxPositions { get; }

    /// <summary>Values of the network itself, adapters aside.</summary>
    public long ParameterCount => Weights.Sum(weight => weight.Value.numel());

    /// <summary>Values that are trained: the adapters' where there are some, else the network's.</summary>
    public long TrainableCount => Trainable.Sum(weight => weight.Value.numel());

    /// <summary>The network's own tensors in a fixed order.</summary>
    internal abstract IReadOnlyList<Weight> Weights { get; }

    /// <summary>The adapters' tensors in a fixed order; none: all of the network is trained.</summary>
    internal IReadOnlyList<Weight> AdapterWeights { get; private set; } = [];

    /// <summary>The tensors that are trained.</summary>
    internal IReadOnlyList<Weight> Trainable => AdapterWeights.Count > 0 ? AdapterWeights : Weights;

    /// <summary>The linear layers that can have adapters.</summary>
    internal virtual IReadOnlyList<Projection> Adaptable => [];

    /// <summary>
    /// The network as a chain: tokens [batch, time] go into the first stage, each stage feeds the next, the last gives logits.
    /// Training runs backward one stage at a time, which is what lets it recompute activations stage by stage.
    /// </summary>
    internal abstract IReadOnlyList<Func<Tensor, Tensor>> Stages { get; }

    /// <summary>Logits of every position.</summary>
    /// <param name="tokens">[batch, time] int64</param>
    /// <returns>[batch, time, vocab]</returns>
    public override Tensor forward(Tensor tokens) => Stages.Aggregate(tokens, (hidden, stage) => stage(hidden));

    /// <summary>The weights by the names they have in files: views, so that writing to them writes the weights. The caller disposes them.</summary>
    public IReadOnlyList<NamedTensor> NamedWeights()
    {
        using var _ = no_grad();
        return [.. Weights.SelectMany(weight => weight.Views(weight.Value)).Select(part => new NamedTensor(part.Name, part.View))];
    }

    /// <summary>Sets the initial weights: the same for a seed on every device.</summary>
    public void Initialize(long seed)
    {
        using var _ = no_grad();
        using var scope = NewDisposeScope();
        for (var i = 0; i < Weights.Count; i++)
            Weights[i].Value.copy_(Weights[i].Draw(seed, i));
    }

    /// <summary>Copies weights into the model, converting them to its device and precision.</summary>
    /// <exception cref="SoraException">A weight is missing, unknown or of another shape.</exception>
    public void LoadWeights(IReadOnlyList<NamedTensor> weights)
    {
        using var _ = no_grad();
        using var scope = NewDisposeScope();
        NamedTensors.Copy(weights, NamedWeights(), "weight");
    }

    /// <summary>Adds adapters and freezes the network's own weights.</summary>
    /// <exception cref="SoraException">The network has no such layers.</exception>
    internal void AddAdapters(ModelSettings settings, LoraSettings lora)
    {
        AdapterWeights = LoraAdapters.Add(this, settings, lora);
        foreach (var weight in AdapterWeights)
            register_parameter(weight.Parts[0].Name.Replace('.', '_'), weight.Value);
        foreach (var weight in Weights)
            weight.Value.requires_grad_(false);
    }

    /// <summary>Copies weights into the adapters.</summary>
    /// <exception cref="SoraException">A weight is missing, unknown or of another shape.</exception>
    internal void LoadAdapters(IReadOnlyList<NamedTensor> weights)
    {
        using var _ = no_grad();
        using var scope = NewDisposeScope();
        NamedTensors.Copy(weights, [.. AdapterWeights.Select(weight => new NamedTensor(weight.Parts[0].Name, weight.Value))], "adapter weight");
    }

    /// <summary>Adds what the adapters add to the network's own weights, and removes them.</summary>
    internal void MergeAdapters()
    {
        foreach (var projection in Adaptable)
            projection.Merge();
        AdapterWeights = [];
    }

    /// <summary>Floating-point operations of forward and backward per token: 6N plus attention (Kaplan et al. 2020; Chowdhery et al. 2022, appendix B); N leaves out the embedding tables, which are only looked up.</summary>
    public abstract double FlopsPerToken(int contextLength);

    /// <summary>Fresh state for generating token by token (a KV cache, or the recurrent state).</summary>
    public abstract DecodingState NewDecodingState();

    /// <summary>Feeds more tokens of one sequence and returns the logits after the last.</summary>
    /// <param name="tokens">[1, time] int64, following what <paramref name="state"/> has seen</param>
    /// <param name="state">Updated in place.</param>
    /// <returns>[vocab]</returns>
    public abstract Tensor Decode(Tensor tokens, DecodingState state);
}

/// <summary>What a model remembers of the tokens it was fed; owns its tensors.</summary>
public abstract class DecodingState : IDisposable
{
    /// <summary>Tokens seen.</summary>
    public int Length { get; set; }

    /// <inheritdoc/>
    public abstract void Dispose();
}
