using System.Text.Json.Nodes;
using Sora.Model.Checkpoints;
using Sora.Model.Checkpoints.Adapters;
using Sora.Model.Tests.Native;
using Sora.Model.Tests.Training;
using Sora.Model.Tokenization;
using Sora.Model.Training;
using Sora.Protocol.Jobs;
using static TorchSharp.torch;

namespace Sora.Model.Tests.Checkpoints.Adapters;

/// <summary>A network is trained and saved, adapters of it are trained, saved, resumed, used and merged.</summary>
[Collection(LibtorchCollection.Name)]
public sealed class AdapterCheckpointTests : IDisposable
{
    private static readonly TrainingJob _baseJob = TinyJobs.Decoder with { Tokenizer = new() { Type = TokenizerKind.Byte }, MaxSteps = 2, Data = new() { Train = ["x"] } };

    private readonly TemporaryFolder _folder = new();

    public static TheoryData<string> Families => new("llama", "gpt2", "mixed");

    public void Dispose() => _folder.Dispose();

    [Theory]
    [MemberData(nameof(Families))]
    public void Load_GivesTheTrainedNetwork_AndMergedItStaysTheSame(string family)
    {
        var job = Tuned(SaveBase(TinyModels.All[family]));
        using var trainer = Trained(job, 3);
        var saved = Save(trainer, _folder["tuned"]);
        var expected = Logits(trainer);

        using (var loaded = LoadedModel.Load(_folder["tuned"], "cpu"))
            Assert.Equal(expected, TinyModels.Logits(loaded.Model, 5, 77, 200, 3));
        var merged = AdapterMerge.Merge(saved.Path, _folder["merged"]);

        Assert.Empty(CheckpointFolder.Verify(merged.Path));
        using var whole = LoadedModel.Load(_folder["merged"], "cpu");
        Assert.All(expected.Zip(TinyModels.Logits(whole.Model, 5, 77, 200, 3)), pair => Assert.Equal(pair.First, pair.Second, 1e-5 * Math.Max(1, Math.Abs(pair.First))));
        Assert.Equal(3, CheckpointManifest.Read(merged.Path).Step);
        Assert.Equal("byte", whole.Tokenizer.Kind);
        // What was merged can be the base of the next run.
        Assert.Equal(merged.Path, Tuned(_folder["merged"]).BaseModel);
    }

    [Fact]
    public void Save_WritesWhatPeftReads()
    {
        var job = Tuned(SaveBase(TinyModels.Gpt2), new LoraSettings { R = 4, LoraAlpha = 16, LoraDropout = 0.05, TargetModules = ["all-linear"] });
        using var trainer = Trained(job, 1);

        var saved = Save(trainer, _folder["tuned"]);

        Assert.Empty(CheckpointFolder.Verify(saved.Path));
        Assert.False(File.Exists(Path.Combine(saved.Path, "config.json")));
        var config = JsonNode.Parse(File.ReadAllText(Path.Combine(saved.Path, "adapter_config.json")))!;
        Assert.Equal("LORA", (string)config["peft_type"]!);
        Assert.Equal("CAUSAL_LM", (string)config["task_type"]!);
        Assert.Equal(job.BaseModel, (string)config["base_model_name_or_path"]!);
        Assert.Equal(4, (int)config["r"]!);
        Assert.Equal(16, (int)config["lora_alpha"]!);
        Assert.Equal(0.05, (double)config["lora_dropout"]!);
        Assert.Equal(["c_attn", "c_proj", "c_fc"], config["target_modules"]!.AsArray().Select(name => (string)name!));
        Assert.True((bool)config["fan_in_fan_out"]!);
        using var file = SafetensorsFile.Open(Path.Combine(saved.Path, "adapter_model.safetensors"));
        Assert.Equal(2 * 4 * 2, file.Tensors.Count);
        Assert.Equal([48, 4], file.Find("base_model.model.transformer.h.1.attn.c_attn.lora_B.weight")!.Shape);
    }

    [Fact]
    public void Save_DrawsNoRandomNumber_BecauseTrainingGoesOnMeanwhile()
    {
        using var trainer = Trained(Tuned(SaveBase(TinyModels.Llama)), 1);
        manual_seed(5);
        var expected = rand(4).data<float>().ToArray();

        manual_seed(5);
        Save(trainer, _folder["tuned"]);

        Assert.Equal(expected, rand(4).data<float>().ToArray());
    }

    [Fact]
    public void Resume_FromACheckpoint_EndsWithTheSameBytes()
    {
        var job = Tuned(SaveBase(TinyModels.Llama));
        using var through = Trained(job, 4);
        using var first = Trained(job, 2);
        var checkpoint = CheckpointFolder.Open(Save(first, _folder["tuned"]).Path);

        Assert.Empty(checkpoint.CheckMatches(job, TinyModels.Vocab, "c0ffee"));
        using var second = Trained(job, 0);
        using (var weights = checkpoint.ReadWeights())
        using (var optimizer = checkpoint.ReadOptimizer())
            second.Restore(checkpoint.Manifest.Step, weights.Tensors, optimizer.Tensors);
        Train(second, 4);

        Assert.Equal(TrainerTests.Bytes(through.Weights), TrainerTests.Bytes(second.Weights));
        Assert.Throws<CheckpointMismatchException>(() => checkpoint.CheckMatches(job with { Lora = job.Lora with { LoraAlpha = 99 } }, TinyModels.Vocab, "c0ffee"));
        Assert.Throws<CheckpointMismatchException>(() => checkpoint.CheckMatches(job with { BaseModelSha256 = new string('0', 64) }, TinyModels.Vocab, "c0ffee"));
        Assert.Single(checkpoint.CheckMatches(job with { Lora = job.Lora with { LoraDropout = 0.5 } }, TinyModels.Vocab, "c0ffee"));
    }

    [Fact]
    public void Load_TheBaseIsAnotherNetworkNow_IsRefused_AndItsNewPlaceCanBeGiven()
    {
        var folder = SaveBase(TinyModels.Llama);
        using var trainer = Trained(Tuned(folder), 1);
        Save(trainer, _folder["tuned"]);
        var expected = Logits(trainer);
        Directory.Move(_folder["base"], _folder["moved"]);

        Assert.Contains("--base-model", Assert.Throws<SoraException>(() => LoadedModel.Load(_folder["tuned"], "cpu")).Message);
        using (var moved = LoadedModel.Load(_folder["tuned"], "cpu", baseModel: _folder["moved"]))
            Assert.Equal(expected, TinyModels.Logits(moved.Model, 5, 77, 200, 3));

        SaveBase(TinyModels.Llama, seed: 2);
        var error = Assert.Throws<SoraException>(() => LoadedModel.Load(_folder["tuned"], "cpu"));
        Assert.Equal(ExitCode.InvalidInput, error.ExitCode);
        Assert.Contains("another one", error.Message);
        Assert.Contains("another one", Assert.Throws<SoraException>(() => AdapterMerge.Merge(_folder["tuned"], _folder["merged"])).Message);
    }

    [Fact]
    public void Load_AdaptersOfPeftItself_AreRead()
    {
        var folder = SaveBase(TinyModels.Llama);
        using var trainer = Trained(Tuned(folder), 2);
        var saved = Save(trainer, _folder["tuned"]).Path;
        foreach (var ours in new[] { "job.json", "manifest.json", "optimizer.safetensors", "tokenizer.json" })
            File.Delete(Path.Combine(saved, ours));

        using var loaded = LoadedModel.Load(saved, "cpu");

        Assert.Equal(Logits(trainer), TinyModels.Logits(loaded.Model, 5, 77, 200, 3));
    }

    [Theory]
    [InlineData("use_dora", "true")]
    [InlineData("bias", "\"all\"")]
    [InlineData("modules_to_save", "[\"lm_head\"]")]
    [InlineData("rank_pattern", "{\"q_proj\": 2}")]
    [InlineData("peft_type", "\"IA3\"")]
    public void Load_AdaptersOfAnotherKind_AreRefused(string key, string value)
    {
        using var trainer = Trained(Tuned(SaveBase(TinyModels.Llama)), 1);
        var path = Path.Combine(Save(trainer, _folder["tuned"]).Path, AdapterConfig.FileName);
        var config = JsonNode.Parse(File.ReadAllText(path))!;
        config[key] = JsonNode.Parse(value);
        File.WriteAllText(path, config.ToJsonString());

        Assert.Contains(key, Assert.Throws<SoraException>(() => AdapterConfig.Read(Path.GetDirectoryName(path)!)).Message);
    }

    [Fact]
    public void Complete_TakesTheShapeTheTokenizerAndTheIdentityFromTheBase()
    {
        var folder = SaveBase(TinyModels.Gpt2);

        var job = Tuned(_folder["base"]);

        Assert.Equal(folder, job.BaseModel);
        Assert.Equal(CheckpointManifest.Read(folder).WeightsSha256, job.BaseModelSha256);
        Assert.Equal(TinyModels.Gpt2 with { MaxPositionEmbeddings = TinyModels.Context, Dropout = 0.1 }, job.Model);
        Assert.Equal(TokenizerKind.Byte, job.Tokenizer.Type);
    }

    [Fact]
    public void Complete_AJobThatContradictsItsBase_IsRefused()
    {
        SaveBase(TinyModels.Llama);

        Assert.Contains("model.hidden_size is 32", Error("model: {hidden_size: 32}"));
        Assert.Contains("context_length", Error("context_length: 99"));
        Assert.Contains("another one", Error($"base_model_sha256: {new string('0', 64)}"));
        Assert.Equal(0.25, Load("model: {dropout: 0.25, hidden_size: 16}").Model.Dropout);

        string Error(string yaml) => Assert.ThrowsAny<SoraException>(() => Load(yaml)).Message;
        TrainingJob Load(string yaml) =>
            BaseModel.Complete(JobLoader.LoadText($"data: x\nbase_model: {_folder["base"]}\n{(yaml.Contains("context") ? "" : "context_length: 16\n")}{yaml}", "job.yaml", new JobOverrides())).Job;
    }

    private static TrainingJob Tuned(string baseModel, LoraSettings? lora = null) => BaseModel.Complete(new LoadedJob(
        _baseJob with { BaseModel = baseModel, ContextLength = TinyModels.Context, Lora = lora ?? new LoraSettings { R = 4, LoraDropout = 0.1 } },
        new Dictionary<string, JobOrigin>(), [])).Job;

    private static Trainer Trained(TrainingJob job, long steps)
    {
        var trainer = new Trainer(job, TinyModels.Vocab, CPU, baseWeights: BaseModel.Reader(job));
        Train(trainer, steps);
        return trainer;
    }

    private static void Train(Trainer trainer, long until)
    {
        using var data = new SyntheticData(TinyModels.Vocab, trainer.Job.MicroBatchSize, trainer.Job.ContextLength);
        while (trainer.Step < until)
            trainer.RunStep(data, new LocalExchange(trainer.Job.Lanes), stopRequested: false);
    }

    private static float[] Logits(Trainer trainer)
    {
        trainer.Model.eval();
        var logits = TinyModels.Logits(trainer.Model, 5, 77, 200, 3);
        trainer.Model.train();
        return logits;
    }

    private string SaveBase(ModelSettings network, long seed = 1)
    {
        using var model = TinyModels.Random(network, seed);
        return CheckpointFolder.Save(Contents(_folder["base"], 10, _baseJob with { Model = network, ContextLength = TinyModels.Context }, model.NamedWeights(), []), 0).Path;
    }

    private static CheckpointInfo Save(Trainer trainer, string output) =>
        CheckpointFolder.Save(Contents(output, trainer.Step, trainer.Job, trainer.Weights, trainer.OptimizerState), 0);

    private static CheckpointContents Contents(string output, long step, TrainingJob job, IReadOnlyList<NamedTensor> weights, IReadOnlyList<NamedTensor> optimizer) => new()
    {
        OutputDir = output,
        Step = step,
        TokensSeen = step * 100,
        Job = job,
        CorpusSha256 = "c0ffee",
        Tokenizer = new ByteTokenizer(),
        Canary = "canary",
        Numerics = "libtorch cpu",
        Weights = weights,
        Optimizer = optimizer,
    };
}
