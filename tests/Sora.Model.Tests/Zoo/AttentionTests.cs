using Sora.Model.Tests.Native;
using Sora.Model.Zoo;
using TorchSharp;
using static TorchSharp.torch;

namespace Sora.Model.Tests.Zoo;

[Collection(LibtorchCollection.Name)]
public class AttentionTests
{
    [Theory]
    [InlineData(4, 4, 7, 7)]   // multi-head, a whole sequence
    [InlineData(4, 2, 7, 7)]   // grouped queries
    [InlineData(4, 1, 7, 7)]   // one key/value head for all
    [InlineData(4, 4, 1, 7)]   // one token after six
    [InlineData(4, 2, 1, 7)]
    [InlineData(4, 4, 3, 7)]   // three tokens after four
    [InlineData(4, 2, 3, 7)]
    public void Causal_EqualsTheFormula(int heads, int keyValueHeads, int time, int total)
    {
        using var scope = NewDisposeScope();
        manual_seed(2);
        var query = randn(2, heads, time, 8);
        var key = randn(2, keyValueHeads, total, 8);
        var value = randn(2, keyValueHeads, total, 8);

        Near.Equal(Naive(query, key, value), Attention.Causal(query, key, value, dropout: 0), 1e-5);
    }

    [Theory]
    [InlineData(4)]
    [InlineData(2)]
    public void Causal_Gradient_EqualsTheFormulas(int keyValueHeads)
    {
        using var scope = NewDisposeScope();
        manual_seed(3);
        Tensor[] ours = [randn(2, 4, 6, 8, requires_grad: true), randn(2, keyValueHeads, 6, 8, requires_grad: true), randn(2, keyValueHeads, 6, 8, requires_grad: true)];
        Tensor[] naive = [.. ours.Select(tensor => tensor.detach().requires_grad_())];

        Attention.Causal(ours[0], ours[1], ours[2], dropout: 0).square().sum().backward();
        Naive(naive[0], naive[1], naive[2]).square().sum().backward();

        foreach (var (mine, theirs) in ours.Zip(naive))
            Near.Equal(theirs.grad!, mine.grad!, 1e-4);
    }

    // softmax(q k^T / sqrt(d)) v with a loop over heads, each query seeing keys up to its own position.
    private static Tensor Naive(Tensor query, Tensor key, Tensor value)
    {
        var (heads, time, total) = (query.shape[1], query.shape[2], key.shape[2]);
        var group = heads / key.shape[1];
        var hidden = ones(time, total, dtype: ScalarType.Bool).triu(total - time + 1);
        var results = new List<Tensor>();
        for (long head = 0; head < heads; head++)
        {
            var scores = query.select(1, head).matmul(key.select(1, head / group).transpose(-2, -1)) / Math.Sqrt(query.shape[3]);
            results.Add(scores.masked_fill(hidden, double.NegativeInfinity).softmax(-1).matmul(value.select(1, head / group)));
        }
        return stack(results, 1);
    }
}
