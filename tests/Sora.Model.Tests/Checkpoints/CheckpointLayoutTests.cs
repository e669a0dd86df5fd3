using System.Text.Json;
using CsCheck;
using Sora.Model.Checkpoints;
using Sora.Model.Training;
using Sora.Protocol.Jobs;
using static TorchSharp.torch;

namespace Sora.Model.Tests.Checkpoints;

/// <summary>Which files a checkpoint has, and who writes them.</summary>
public sealed class CheckpointLayoutTests : IDisposable
{
    private readonly TemporaryFolder _output = new();

    public void Dispose() => _output.Dispose();

    [Fact]
    public void Save_AboveTheShardSize_WritesSeveralFilesAsHuggingFaceDoes_AndReadsThemBack()
    {
        using var tiny = new TinyCheckpoints(_output.Path);
        var whole = CheckpointFolder.Save(tiny.Of(1), 0);
        var contents = tiny.Of(2);
        var saved = CheckpointFolder.Save(contents with { Job = contents.Job with { MaxShardSize = "4KB" } }, 0);

        Assert.Equal(whole.WeightsSha256, saved.WeightsSha256);
        Assert.Empty(CheckpointFolder.Verify(saved.Path));
        var files = Directory.GetFiles(saved.Path, "model*.safetensors").Select(path => Path.GetFileName(path)).Order(StringComparer.Ordinal).ToList();
        Assert.InRange(files.Count, 3, 50);
        Assert.Equal(Enumerable.Range(1, files.Count).Select(number => $"model-{number:D5}-of-{files.Count:D5}.safetensors"), files);
        using var index = JsonDocument.Parse(File.ReadAllBytes(Path.Combine(saved.Path, "model.safetensors.index.json")));
        var map = index.RootElement.GetProperty("weight_map").EnumerateObject().ToDictionary(entry => entry.Name, entry => entry.Value.GetString());
        var total = 0L;
        foreach (var file in files)
        {
            using var opened = SafetensorsFile.Open(Path.Combine(saved.Path, file));
            Assert.True(opened.Tensors.Count == 1 || opened.Tensors.Sum(tensor => tensor.ByteCount) <= 4000);
            Assert.All(opened.Tensors, tensor => Assert.True(map.Remove(tensor.Name, out var where) && where == file));
            total += opened.Tensors.Sum(tensor => tensor.ByteCount);
        }
        Assert.Empty(map);
        Assert.Equal(total, index.RootElement.GetProperty("metadata").GetProperty("total_size").GetInt64());

        using var before = LoadedModel.Load(whole.Path, "cpu");
        using var after = LoadedModel.Load(saved.Path, "cpu");
        Assert.Equal(TinyModels.Logits(before.Model, 1, 2, 3), TinyModels.Logits(after.Model, 1, 2, 3));
        using var weights = CheckpointFolder.Open(saved.Path).ReadWeights();
        using var optimizer = CheckpointFolder.Open(saved.Path).ReadOptimizer();
        Assert.Equal(contents.Weights.Select(weight => weight.Name).Order(StringComparer.Ordinal), weights.Tensors.Select(weight => weight.Name).Order(StringComparer.Ordinal));
        Assert.Equal(contents.Optimizer.Select(tensor => tensor.Name), optimizer.Tensors.Select(tensor => tensor.Name));

        File.Delete(Path.Combine(saved.Path, files[1]));
        Assert.Contains(files[1], Assert.Throws<SoraException>(() => CheckpointFolder.Open(saved.Path)).Message);
    }

    [Fact]
    public void Split_AndDeal_WhateverTheSizes_EveryTensorIsWrittenOnceAndNobodyCopiesMuchMoreThanHisPart() =>
        Gen.Select(Gen.Int[1, 4_000_000].List[1, 60], Gen.Int[0, 2], Gen.Long[1, 8_000_000], Gen.Int[1, 8]).Sample((sizes, states, limit, writers) =>
        {
            using var scope = NewDisposeScope();
            var weights = sizes.Select((size, index) => new NamedTensor($"w{index}", Fake(size))).ToList();
            var optimizer = Enumerable.Range(0, states).SelectMany(state => weights.Select(weight => weight with { Name = $"state{state}.{weight.Name}" })).ToList();
            var model = new ModelDescription(TinyModels.Llama, 257, TinyModels.Context, 256);
            var layout = CheckpointLayout.Of(model, weights, optimizer, limit);

            var files = layout.Weights.Concat(layout.Optimizer).ToList();
            Assert.Equal(weights.Concat(optimizer).Select(tensor => tensor.Name), files.SelectMany(file => file.Tensors, (_, tensor) => tensor.Name));
            Assert.All(files, file => Assert.True(file.Bytes <= limit || file.Tensors.Count == 1));

            var shares = CheckpointShare.Deal(layout, writers);
            Assert.Equal(files.Select(file => file.Name).Order(), shares.SelectMany(share => share.Weights.Concat(share.Optimizer)).Select(file => file.Name).Order());
            Assert.Equal(weights.Select(weight => weight.Name), shares[0].WeightNames);
            var bytes = weights.Concat(optimizer).ToDictionary(tensor => tensor.Name, tensor => tensor.Value.numel() * 4);
            var copied = shares.Select(share => share.WeightNames.Concat(share.OptimizerNames).Sum(name => bytes[name])).ToList();
            var (all, hashed) = (bytes.Values.Sum(), layout.Weights.Sum(file => file.Bytes));
            Assert.True(copied.Max() <= Math.Max(hashed, all / writers + files.Max(file => file.Bytes)));
        }, iter: 100, threads: 1);

    [Fact]
    public void Deal_ADecodersState_IsShared()
    {
        using var scope = NewDisposeScope();
        var weights = Enumerable.Range(0, 120).Select(index => new NamedTensor($"w{index}", Fake(1_000_000))).ToList();
        var optimizer = new[] { "exp_avg", "exp_avg_sq" }.SelectMany(state => weights.Select(weight => weight with { Name = $"{state}.{weight.Name}" })).ToList();
        var layout = CheckpointLayout.Of(new ModelDescription(TinyModels.Llama, 257, TinyModels.Context, 256), weights, optimizer, 5_000_000_000);
        Assert.Equal((1, 12), (layout.Weights.Count, layout.Optimizer.Count));
        Assert.Equal([360.0, 180, 120, 120], new[] { 1, 2, 3, 4 }.Select(writers => CheckpointShare.Deal(layout, writers).Max(share => (share.WeightNames.Count() + share.OptimizerNames.Count()))).Select(tensors => (double)tensors));
    }

    // One element that claims to be many: only sizes are looked at.
    private static Tensor Fake(long elements) => zeros(1).expand(elements);
}
