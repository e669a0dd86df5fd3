using Sora.Protocol.Jobs;

namespace Sora.Model.Zoo;

/// <summary>A decoder's settings with every derived size filled in and checked.</summary>
internal sealed record DecoderShape
{
    public DecoderShape(ModelSettings settings, int vocabSize, int contextLength)
    {
        Settings = settings;
        VocabSize = vocabSize;
        Heads = settings.NumAttentionHeads;
        KeyValueHeads = settings.NumKeyValueHeads ?? Heads;
        HeadSize = settings.HiddenSize / Heads;
        Intermediate = settings.IntermediateSize ?? (settings.Activation == ActivationKind.SwiGlu
            ? (settings.HiddenSize * 8 / 3 + 31) / 32 * 32
            : settings.HiddenSize * 4);
        Positions = settings.MaxPositionEmbeddings ?? contextLength;

        if (settings.HiddenSize % Heads != 0)
            throw new SoraException($"model.hidden_size {settings.HiddenSize} is not divisible by model.num_attention_heads {Heads}.", ExitCode.Usage);
        if (Heads % KeyValueHeads != 0)
            throw new SoraException($"model.num_attention_heads {Heads} is not divisible by model.num_key_value_heads {KeyValueHeads}.", ExitCode.Usage);
        if (settings.PositionEmbedding == PositionKind.Rope && HeadSize % 2 != 0)
            throw new SoraException($"Rotary positions need an even head size; model.hidden_size {settings.HiddenSize} / model.num_attention_heads {Heads} is {HeadSize}.", ExitCode.Usage);
        if (contextLength > Positions)
            throw new SoraException($"context_length {contextLength} is above model.max_position_embeddings {Positions}.", ExitCode.Usage);
    }

    public ModelSettings Settings { get; }
    public int VocabSize { get; }
    public int Heads { get; }
    public int KeyValueHeads { get; }
    public int HeadSize { get; }
    public int Intermediate { get; }
    public int Positions { get; }
}
