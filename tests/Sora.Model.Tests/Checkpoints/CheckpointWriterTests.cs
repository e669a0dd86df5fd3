using Sora.Model.Checkpoints;
using Sora.Model.Tests.Training;
using Sora.Model.Tokenization;
using Sora.Model.Training;
using Sora.Protocol.Jobs;

namespace Sora.Model.Tests.Checkpoints;

/// <summary>Saving beside the training.</summary>
public sealed class CheckpointWriterTests : IDisposable
{
    private static readonly TrainingJob _job = TinyJobs.Decoder with { Tokenizer = new() { Type = TokenizerKind.Byte } };

    private readonly TemporaryFolder _output = new();
    private readonly ManualResetEventSlim _go = new();
    private readonly List<SaveOutcome> _ended = [];
    private readonly Trainer _trainer = new(_job, new ByteTokenizer().VocabSize, TorchSharp.torch.CPU);
    private readonly LocalExchange _exchange = new(_job.Lanes);
    private readonly CheckpointWriter _writer = new(TimeProvider.System);

    public void Dispose()
    {
        _go.Set();
        _writer.Dispose();
        _exchange.Dispose();
        _trainer.Dispose();
        _output.Dispose();
    }

    [Fact]
    public void Begin_TrainingGoesOn_WritesTheBytesABlockingSaveOfThatStepWrites()
    {
        Train(2);
        var (weights, optimizer) = (_trainer.Weights, _trainer.OptimizerState);
        var blocking = CheckpointFolder.Save(Contents(_output["blocking"], weights, optimizer), 0);
        foreach (var view in weights.Concat(optimizer))
            view.Value.Dispose();

        Begin(_output["beside"]);
        Assert.True(_writer.IsWriting);
        Assert.True(_writer.Has(2));
        Train(2);
        Assert.False(_writer.Wait(TimeSpan.Zero));
        Assert.Empty(_ended);
        _go.Set();
        Assert.True(_writer.Wait(Timeout.InfiniteTimeSpan));
        Assert.Equal(blocking.WeightsSha256, Assert.Single(_ended).Saved!.WeightsSha256);
        Assert.True(_writer.Has(2));
        Assert.False(_writer.Has(4));
        foreach (var file in Directory.GetFiles(blocking.Path).Where(file => !file.EndsWith("manifest.json", StringComparison.Ordinal)))
            Assert.Equal(File.ReadAllBytes(file), File.ReadAllBytes(Path.Combine(_ended[0].Saved!.Path, Path.GetFileName(file))));
        Assert.Equal(CheckpointManifest.Read(blocking.Path).Files, CheckpointManifest.Read(_ended[0].Saved!.Path).Files);

        // The memory is used again, and the next one holds the next state.
        Begin(_output["beside"]);
        _writer.Wait(Timeout.InfiniteTimeSpan);
        Assert.Equal([2, 4], CheckpointCatalog.List(_output["beside"]).Select(checkpoint => checkpoint.Step));
        Assert.NotEqual(_ended[0].Saved!.WeightsSha256, _ended[1].Saved!.WeightsSha256);
    }

    [Fact]
    public void Begin_DiskTakesNothing_TellsSo_AndTheNextOneIsTriedAgain()
    {
        File.WriteAllText(_output["full"], "not a folder");
        _go.Set();
        Train(1);
        Begin(_output["full"]);
        Assert.True(_writer.Wait(Timeout.InfiniteTimeSpan));
        Assert.Null(_ended[0].Saved);
        Assert.Contains("Cannot write the checkpoint of step 1", _ended[0].Error!.Message);
        Assert.False(_writer.Has(1));

        File.Delete(_output["full"]);
        Train(1);
        Begin(_output["full"]);
        _writer.Wait(Timeout.InfiniteTimeSpan);
        Assert.Equal(2, _ended[1].Saved!.Step);
    }

    [Fact]
    public void Begin_ErrorThatIsNoneOfTheDisk_IsThrownToWhoeverWaits()
    {
        var described = 0;
        _writer.Begin(_trainer, SaveGroup.Alone, (weights, optimizer) => Contents(_output.Path, ++described == 1 ? weights : [.. weights, weights[0]], optimizer), _ended.Add);
        Assert.ThrowsAny<ArgumentException>(() => _writer.Wait(Timeout.InfiniteTimeSpan));
        Assert.Empty(_ended);
    }

    [Fact]
    public void Begin_WhileOneIsBeingWritten_IsAMistake()
    {
        Begin(_output.Path);
        Assert.Throws<InvalidOperationException>(() => Begin(_output.Path));
    }

    private void Begin(string output) =>
        _writer.Begin(_trainer, SaveGroup.Alone, (weights, optimizer) => Contents(output, weights, optimizer) with { Tokenizer = new Gate(_go) }, _ended.Add);

    private void Train(int steps)
    {
        using var data = new SyntheticData(256, _job.MicroBatchSize, _job.ContextLength);
        for (var step = 0; step < steps; step++)
            _trainer.RunStep(data, _exchange, stopRequested: false);
    }

    private CheckpointContents Contents(string output, IReadOnlyList<NamedTensor> weights, IReadOnlyList<NamedTensor> optimizer) => new()
    {
        OutputDir = output,
        Step = _trainer.Step,
        TokensSeen = 0,
        Job = _job,
        CorpusSha256 = "c0ffee",
        Tokenizer = new ByteTokenizer(),
        Canary = "canary",
        Numerics = "numerics",
        Weights = weights,
        Optimizer = optimizer,
    };

    /// <summary>The tokenizer is written first: nothing is, before the gate opens.</summary>
    private sealed class Gate(ManualResetEventSlim open) : ITokenizer
    {
        private readonly ByteTokenizer _inner = new();

        public string Kind => _inner.Kind;
        public int VocabSize => _inner.VocabSize;
        public int EndOfText => _inner.EndOfText;
        public void Encode(ReadOnlySpan<char> text, System.Buffers.IBufferWriter<int> tokens) => _inner.Encode(text, tokens);
        public void Decode(ReadOnlySpan<int> tokens, System.Buffers.IBufferWriter<byte> utf8) => _inner.Decode(tokens, utf8);

        public void Save(string folder)
        {
            open.Wait();
            _inner.Save(folder);
        }
    }
}
