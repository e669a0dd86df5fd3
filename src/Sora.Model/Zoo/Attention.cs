using Sora.Model.Native;
using static TorchSharp.torch;
using static TorchSharp.torch.nn;

namespace Sora.Model.Zoo;

/// <summary>Scaled dot-product attention (Vaswani et al. 2017) through libtorch's fused kernels.</summary>
internal static class Attention
{
    /// <summary>Each query sees the keys up to its own position; the queries are those of the last positions.</summary>
    /// <param name="query">[batch, heads, time, head size]</param>
    /// <param name="key">[batch, key/value heads, past + time, head size]</param>
    /// <param name="value">as key</param>
    /// <param name="dropout">Probability of dropping an attention weight.</param>
    /// <returns>[batch, heads, time, head size]</returns>
    public static Tensor Causal(Tensor query, Tensor key, Tensor value, double dropout)
    {
        var (time, total) = (query.shape[2], key.shape[2]);
        // One new token sees everything; a fresh sequence is libtorch's own causal case; between them the mask is needed.
        if (time > 1 && time < total)
        {
            var mask = ones(time, total, dtype: ScalarType.Bool, device: query.device).tril(total - time);
            var repeats = query.shape[1] / key.shape[1];
            return functional.scaled_dot_product_attention(query, Repeat(key, repeats), Repeat(value, repeats), mask, dropout);
        }
        var causal = time > 1;
        return query.shape[1] == key.shape[1]
            ? functional.scaled_dot_product_attention(query, key, value, p: dropout, is_casual: causal)
            : Dispatcher.GroupedQueryAttention(query, key, value, dropout, causal);
    }

    private static Tensor Repeat(Tensor heads, long times) => times == 1 ? heads : heads.repeat_interleave(times, dim: 1);
}
