using Sora.Model.Zoo;
using static TorchSharp.torch;

namespace Sora.Model.Tests.Inference;

/// <summary>Always continues with the next token of a script, whatever it is fed; remembers how it was fed.</summary>
internal sealed class ScriptedModel(int vocab, int positions, params int[] script) : LanguageModel("scripted")
{
    private int _next;

    public List<(int Before, int[] Tokens)> Fed { get; } = [];

    public override int VocabSize => vocab;
    public override int MaxPositions => positions;
    internal override IReadOnlyList<Weight> Weights => [];
    internal override IReadOnlyList<Func<Tensor, Tensor>> Stages => [];
    public override double FlopsPerToken(int contextLength) => 0;
    public override DecodingState NewDecodingState() => new Counter();

    public override Tensor Decode(Tensor tokens, DecodingState state)
    {
        Fed.Add((state.Length, tokens.data<long>().Select(token => (int)token).ToArray()));
        state.Length += (int)tokens.shape[1];
        Assert.True(state.Length <= positions);
        var logits = zeros(vocab);
        logits[script[_next++ % script.Length]] = 100f;
        return logits;
    }

    private sealed class Counter : DecodingState
    {
        public override void Dispose() { }
    }
}
