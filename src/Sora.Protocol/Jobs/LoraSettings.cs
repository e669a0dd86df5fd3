namespace Sora.Protocol.Jobs;

/// <summary>Low-rank adapters (Hu et al. 2021), with the keys of Hugging Face's PEFT. With them the network's own weights stay as they are.</summary>
public sealed record LoraSettings
{
    /// <summary>What <see cref="TargetModules"/> calls every linear layer but the output head.</summary>
    public const string AllLinear = "all-linear";

    /// <summary>Rank of the adapters; 0: there are none, and all weights are trained.</summary>
    [JobKey("rank of the adapters; 0: none, all weights are trained")]
    public int R { get; init; }

    /// <summary>What an adapter adds counts <see cref="LoraAlpha"/> / <see cref="R"/> times.</summary>
    [JobKey("what an adapter adds counts lora_alpha / r times")]
    public double LoraAlpha { get; init; } = 8;

    /// <summary>Dropout on what an adapter reads.</summary>
    [JobKey("dropout on what an adapter reads")]
    public double LoraDropout { get; init; }

    /// <summary>Layers that get an adapter, by the end of their names; empty: those PEFT chooses for the architecture.</summary>
    [JobKey("layers with an adapter by the end of their names, or all-linear; default q_proj and v_proj (GPT-2: c_attn)")]
    public IReadOnlyList<string> TargetModules { get; init; } = [];

    /// <summary>Divide <see cref="LoraAlpha"/> by the root of the rank (Kalajdzievski 2023).</summary>
    [JobKey("divide lora_alpha by the square root of r")]
    public bool UseRslora { get; init; }

    /// <summary>Whether adapters are trained.</summary>
    public bool IsOn => R > 0;

    /// <summary>How many times what an adapter adds counts.</summary>
    public double Scaling => LoraAlpha / (UseRslora ? Math.Sqrt(R) : R);
}
