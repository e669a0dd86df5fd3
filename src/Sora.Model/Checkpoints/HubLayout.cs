namespace Sora.Model.Checkpoints;

/// <summary>One tensor of a weights file and the parameters of our model it is made of.</summary>
/// <param name="Name">Its name in the file.</param>
/// <param name="Parameters">Our parameters, stacked along their first dimension.</param>
/// <param name="Transposed">The file holds the stacked matrix transposed (GPT-2's "Conv1D").</param>
public sealed record HubTensor(string Name, IReadOnlyList<string> Parameters, bool Transposed = false);

/// <summary>
/// How our parameters lie in a weights file. Our names already are the ones of Hugging Face's Llama, so only GPT-2 needs
/// a table: other names, query, key and value in one matrix, and matrices transposed.
/// </summary>
public static class HubLayout
{
    /// <summary>The tensors of a GPT-2.</summary>
    public static IReadOnlyList<HubTensor> Gpt2(int layers, bool tiedHead)
    {
        List<HubTensor> tensors =
        [
            new("transformer.wte.weight", ["model.embed_tokens.weight"]),
            new("transformer.wpe.weight", ["model.embed_positions.weight"]),
        ];
        for (var layer = 0; layer < layers; layer++)
        {
            var (ours, theirs) = ($"model.layers.{layer}", $"transformer.h.{layer}");
            AddNorm($"{theirs}.ln_1", $"{ours}.input_layernorm");
            AddLinear($"{theirs}.attn.c_attn", $"{ours}.self_attn.q_proj", $"{ours}.self_attn.k_proj", $"{ours}.self_attn.v_proj");
            AddLinear($"{theirs}.attn.c_proj", $"{ours}.self_attn.o_proj");
            AddNorm($"{theirs}.ln_2", $"{ours}.post_attention_layernorm");
            AddLinear($"{theirs}.mlp.c_fc", $"{ours}.mlp.up_proj");
            AddLinear($"{theirs}.mlp.c_proj", $"{ours}.mlp.down_proj");
        }
        AddNorm("transformer.ln_f", "model.norm");
        if (!tiedHead)
            tensors.Add(new HubTensor("lm_head.weight", ["lm_head.weight"]));
        return tensors;

        void AddNorm(string theirs, string ours)
        {
            tensors.Add(new HubTensor($"{theirs}.weight", [$"{ours}.weight"]));
            tensors.Add(new HubTensor($"{theirs}.bias", [$"{ours}.bias"]));
        }

        void AddLinear(string theirs, params string[] ours)
        {
            tensors.Add(new HubTensor($"{theirs}.weight", [.. ours.Select(name => $"{name}.weight")], Transposed: true));
            tensors.Add(new HubTensor($"{theirs}.bias", [.. ours.Select(name => $"{name}.bias")]));
        }
    }

    /// <summary>
    /// The names a tensor goes by in files of other programs: GPT-2 weights also come without their common prefix.
    /// </summary>
    public static IEnumerable<string> Aliases(string name)
    {
        yield return name;
        if (name.StartsWith("transformer.", StringComparison.Ordinal))
            yield return name["transformer.".Length..];
    }

    /// <summary>
    /// Whether a file may hold a tensor that no parameter takes: tables older versions of transformers stored, and a copy
    /// of the embedding under the name of a tied head.
    /// </summary>
    public static bool MayBeIgnored(string name, bool tiedHead) =>
        name.EndsWith(".attn.bias", StringComparison.Ordinal) || name.EndsWith(".attn.masked_bias", StringComparison.Ordinal)
        || name.EndsWith(".rotary_emb.inv_freq", StringComparison.Ordinal) || (tiedHead && name == "lm_head.weight");
}
