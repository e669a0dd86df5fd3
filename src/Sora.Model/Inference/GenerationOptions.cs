using Sora.Protocol.Jobs;

namespace Sora.Model.Inference;

/// <summary>How text is continued.</summary>
public sealed record GenerationOptions
{
    /// <summary>Tokens to add at most.</summary>
    public int MaxNewTokens { get; init; } = 128;

    /// <summary>0 always takes the likeliest token; 1 samples as the model says; above 1 more evenly.</summary>
    public double Temperature { get; init; } = 0.8;

    /// <summary>Sample from the so many likeliest tokens; 0: from all (Fan et al. 2018).</summary>
    public int TopK { get; init; }

    /// <summary>Sample from the fewest likeliest tokens that hold this share of the probability; 1: from all (Holtzman et al. 2020).</summary>
    public double TopP { get; init; } = 1;

    /// <summary>The same seed gives the same text.</summary>
    public long Seed { get; init; } = 42;

    /// <summary>Refuses values that mean nothing.</summary>
    /// <exception cref="SoraException">One is out of range; the message says which.</exception>
    public void Check()
    {
        Require(MaxNewTokens >= 0, $"max_new_tokens is {MaxNewTokens}; use 0 or more");
        Require(double.IsFinite(Temperature) && Temperature >= 0, $"temperature is {Temperature}; use 0 (always the likeliest token) or more");
        Require(TopK >= 0, $"top_k is {TopK}; use 0 (all tokens) or more");
        Require(TopP is > 0 and <= 1, $"top_p is {TopP}; use a share above 0, up to 1 (all tokens)");

        static void Require(bool holds, string message)
        {
            if (!holds)
                throw new SoraException($"{message}.", ExitCode.Usage);
        }
    }
}
