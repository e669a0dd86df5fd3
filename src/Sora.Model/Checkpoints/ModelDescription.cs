using Sora.Protocol.Jobs;

namespace Sora.Model.Checkpoints;

/// <summary>Everything needed to build the network a set of weights belongs to.</summary>
/// <param name="Settings">The network as the job has it.</param>
/// <param name="VocabSize">Entries of the vocabulary.</param>
/// <param name="MaxPositions">Longest input, in tokens.</param>
/// <param name="EndOfText">The token that ends a document.</param>
public sealed record ModelDescription(ModelSettings Settings, int VocabSize, int MaxPositions, int EndOfText)
{
    /// <summary>The network of a job.</summary>
    public static ModelDescription Of(TrainingJob job, int vocabSize, int endOfText) =>
        new(job.Model, vocabSize, job.Model.MaxPositionEmbeddings ?? job.ContextLength, endOfText);

    /// <summary>Whether the output head is the embedding; an LSTM always has a head of its own.</summary>
    public bool TiedHead => Settings.TieWordEmbeddings && Settings.Type == ModelKind.Decoder;

    /// <summary>Which names and layout its files follow.</summary>
    public HubArchitecture Architecture => Settings switch
    {
        { Type: ModelKind.Lstm } => HubArchitecture.SoraLstm,
        { Norm: NormKind.RmsNorm, Activation: ActivationKind.SwiGlu, PositionEmbedding: PositionKind.Rope, Bias: false } => HubArchitecture.Llama,
        { Norm: NormKind.LayerNorm, Activation: ActivationKind.Gelu, PositionEmbedding: PositionKind.Learned, Bias: true }
            when (Settings.NumKeyValueHeads ?? Settings.NumAttentionHeads) == Settings.NumAttentionHeads => HubArchitecture.Gpt2,
        _ => HubArchitecture.SoraDecoder,
    };
}

/// <summary>Families of files.</summary>
public enum HubArchitecture
{
    /// <summary>Loads as <c>LlamaForCausalLM</c>.</summary>
    Llama,
    /// <summary>Loads as <c>GPT2LMHeadModel</c>.</summary>
    Gpt2,
    /// <summary>Any other decoder, under our own names.</summary>
    SoraDecoder,
    /// <summary>The LSTM, under our own names.</summary>
    SoraLstm,
}
