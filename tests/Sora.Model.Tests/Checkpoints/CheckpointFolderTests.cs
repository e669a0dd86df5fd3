using System.Buffers;
using System.Text.Json.Nodes;
using Sora.Model.Checkpoints;
using Sora.Model.Tokenization;
using Sora.Model.Training;
using Sora.Model.Zoo;
using Sora.Protocol.Jobs;
using static TorchSharp.torch;

namespace Sora.Model.Tests.Checkpoints;

public sealed class CheckpointFolderTests : IDisposable
{
    private static readonly TrainingJob _job = TinyCheckpoints.Job;

    private readonly TemporaryFolder _output = new();
    private readonly LanguageModel _model = TinyModels.Random(TinyModels.Gpt2);
    private readonly Tensor _moments = arange(6).to(ScalarType.Float32).view(2, 3);

    public void Dispose()
    {
        _moments.Dispose();
        _model.Dispose();
        _output.Dispose();
    }

    [Fact]
    public void Open_ManifestOfVersion1_OneFileOfEachKind_IsRead()
    {
        using var output = new TemporaryFolder();
        using var tiny = new TinyCheckpoints(output.Path);
        var saved = CheckpointFolder.Save(tiny.Of(1), 0).Path;
        var manifest = CheckpointManifest.Read(saved);
        Assert.Equal(["model.safetensors", "optimizer.safetensors"], manifest.Files.Select(file => file.Name).Where(name => name.EndsWith(".safetensors", StringComparison.Ordinal)));
        File.WriteAllBytes(Path.Combine(saved, CheckpointManifest.FileName), (manifest with { FormatVersion = 1 }).ToUtf8());
        Assert.Equal(saved, CheckpointCatalog.Resolve("true", output.Path).Path);
        var opened = CheckpointFolder.Open(saved);
        Assert.Equal(1, opened.Manifest.FormatVersion);
        using var weights = opened.ReadWeights();
        using var optimizer = opened.ReadOptimizer();
        Assert.Equal(tiny.Of(1).Weights.Count, weights.Tensors.Count);
        Assert.Equal(tiny.Of(1).Optimizer[0].Value.data<float>().ToArray(), Assert.Single(optimizer.Tensors).Value.data<float>().ToArray());
    }

    [Fact]
    public void Save_ThenOpen_GivesEverythingBack()
    {
        var saved = CheckpointFolder.Save(Contents(7), 0);
        Assert.Equal(_output["checkpoints/step-00000007"], saved.Path);
        Assert.Empty(CheckpointFolder.Verify(saved.Path));

        var opened = CheckpointFolder.Open(saved.Path);
        Assert.Equal(saved.WeightsSha256, opened.WeightsHash);
        Assert.Equal(7, opened.Manifest.Step);
        Assert.Equal(700, opened.Manifest.TokensSeen);
        Assert.Equal("c0ffee", opened.Manifest.CorpusSha256);
        Assert.Equal(JobHash.Of(_job), opened.Manifest.JobSha256);
        Assert.Equal(JobJson.Write(_job), JobJson.Write(opened.Job));
        Assert.Equal(new ModelDescription(_job.Model, 257, TinyModels.Context, 256), opened.Model);
        Assert.Equal("byte", opened.ReadTokenizer().Kind);
        using var weights = opened.ReadWeights();
        using var again = TinyModels.Load(opened.Model, weights.Tensors);
        Assert.Equal(TinyModels.Logits(_model, 1, 2, 3), TinyModels.Logits(again, 1, 2, 3));
        using var optimizer = opened.ReadOptimizer();
        Assert.Equal("exp_avg.h", Assert.Single(optimizer.Tensors).Name);
        Assert.Equal([0f, 1, 2, 3, 4, 5], optimizer.Tensors[0].Value.data<float>().ToArray());
    }

    [Fact]
    public void Save_FolderHoldsWhatIsPromised_AndNothingElse()
    {
        var saved = CheckpointFolder.Save(Contents(1), 0);
        string[] expected = ["config.json", "job.json", "manifest.json", "model.safetensors", "optimizer.safetensors", "tokenizer.json", "tokenizer_config.json"];
        Assert.Equal(expected, Directory.GetFileSystemEntries(saved.Path).Select(path => Path.GetFileName(path)).Order(StringComparer.Ordinal));
        Assert.Equal(["step-00000001"], Children());
        using var file = SafetensorsFile.Open(Path.Combine(saved.Path, "model.safetensors"));
        Assert.Equal("pt", file.Metadata["format"]);
        Assert.Equal(saved.WeightsSha256, WeightsHash.Of(file));
    }

    [Fact]
    public void Save_SameStepTwice_ChangesNothing()
    {
        var first = CheckpointFolder.Save(Contents(3), 0);
        var written = File.GetLastWriteTimeUtc(Path.Combine(first.Path, "manifest.json"));
        Assert.Equal(first, CheckpointFolder.Save(Contents(3), 0));
        Assert.Equal(written, File.GetLastWriteTimeUtc(Path.Combine(first.Path, "manifest.json")));
        Assert.Equal(["step-00000003"], Children());
    }

    [Fact]
    public void Save_SameStepDamaged_IsReplaced()
    {
        var first = CheckpointFolder.Save(Contents(3), 0);
        FlipBit(Path.Combine(first.Path, "model.safetensors"), 5000);
        CheckpointFolder.Save(Contents(3), 0);
        Assert.Empty(CheckpointFolder.Verify(first.Path));
        Assert.Equal(["step-00000003"], Children());
    }

    [Fact]
    public void Save_AboveTheLimit_RemovesTheOldest()
    {
        for (var step = 1; step <= 4; step++)
            CheckpointFolder.Save(Contents(step), 2);
        Assert.Equal(["step-00000003", "step-00000004"], Children());
    }

    [Fact]
    public void Save_BelowTheNewestStep_KeepsBothItAndTheNewest()
    {
        CheckpointFolder.Save(Contents(10), 0);
        CheckpointFolder.Save(Contents(20), 0);
        CheckpointFolder.Save(Contents(5), 1);
        Assert.Equal(["step-00000005", "step-00000020"], Children());
    }

    [Fact]
    public void Save_LimitReached_DamagedOnesAreNeitherCountedNorRemoved()
    {
        File.Delete(Path.Combine(CheckpointFolder.Save(Contents(1), 0).Path, "job.json"));
        CheckpointFolder.Save(Contents(2), 1);
        CheckpointFolder.Save(Contents(3), 1);
        Assert.Equal(["step-00000001", "step-00000003"], Children());
    }

    [Fact]
    public void Save_LeftoverOfAKilledProcess_IsRemoved_OfALivingOneNot()
    {
        var parent = Directory.CreateDirectory(_output["checkpoints"]).FullName;
        var dead = Directory.CreateDirectory(Path.Combine(parent, $".step-00000001.{Environment.MachineName}.999999999.{Guid.NewGuid():N}.partial")).FullName;
        var alive = Directory.CreateDirectory(Path.Combine(parent, $".step-00000001.{Environment.MachineName}.{Environment.ProcessId}.{Guid.NewGuid():N}.partial")).FullName;
        var elsewhere = Directory.CreateDirectory(Path.Combine(parent, $".step-00000001.another-machine.999999999.{Guid.NewGuid():N}.partial")).FullName;
        var old = Directory.CreateDirectory(Path.Combine(parent, ".step-00000001.old.partial")).FullName;
        Directory.SetLastWriteTimeUtc(old, Directory.GetLastWriteTimeUtc(parent) - TimeSpan.FromHours(1));
        CheckpointFolder.Save(Contents(1), 0);
        Assert.Equal([false, true, true, false], new[] { dead, alive, elsewhere, old }.Select(Directory.Exists));
    }

    [Fact]
    public void Save_DiskFullInTheMiddle_SaysSoAndLeavesEarlierOnesAlone()
    {
        CheckpointFolder.Save(Contents(1), 1);
        var error = Assert.Throws<CheckpointWriteException>(() => CheckpointFolder.Save(Contents(2) with { Tokenizer = new FullDisk() }, 1));
        Assert.Contains("No space left on device", error.Message);
        Assert.Contains("step 2", error.Message);
        Assert.Equal(["step-00000001"], Children());
    }

    [Fact]
    public void Save_FolderCannotBeMade_SaysWhere()
    {
        File.WriteAllText(_output["checkpoints"], "in the way");
        var error = Assert.Throws<CheckpointWriteException>(() => CheckpointFolder.Save(Contents(1), 1));
        Assert.Contains(_output["checkpoints"], error.Message);
    }

    [Theory]
    [InlineData("model.safetensors", 5000)]
    [InlineData("model.safetensors", 20)]
    [InlineData("optimizer.safetensors", 8)]
    [InlineData("config.json", 30)]
    [InlineData("job.json", 30)]
    [InlineData("tokenizer.json", 100)]
    [InlineData("manifest.json", 60)]
    public void Verify_OneBitFlipped_NamesTheFile(string name, int position)
    {
        var saved = CheckpointFolder.Save(Contents(1), 0);
        FlipBit(Path.Combine(saved.Path, name), position);
        Assert.Contains(Path.Combine(saved.Path, name), Assert.Single(CheckpointFolder.Verify(saved.Path)));
    }

    [Theory]
    [InlineData("model.safetensors")]
    [InlineData("job.json")]
    [InlineData("manifest.json")]
    public void Open_FileMissingOrCutShort_NamesIt(string name)
    {
        var path = Path.Combine(CheckpointFolder.Save(Contents(1), 0).Path, name);
        using (var file = File.OpenWrite(path))
            file.SetLength(file.Length - 1);
        Assert.Contains(path, Assert.Throws<SoraException>(() => CheckpointFolder.Open(Path.GetDirectoryName(path)!)).Message);
        File.Delete(path);
        Assert.Contains(name, Assert.Throws<SoraException>(() => CheckpointFolder.Open(Path.GetDirectoryName(path)!)).Message);
    }

    [Theory]
    [InlineData("auto")]
    [InlineData("true")]
    public void Resolve_NewestIsDamaged_UsesTheOneBeforeAndSaysSo(string resume)
    {
        var sound = CheckpointFolder.Save(Contents(1), 0);
        var damaged = CheckpointFolder.Save(Contents(2), 0);
        FlipBit(Path.Combine(damaged.Path, "optimizer.safetensors"), 100);
        Directory.CreateDirectory(_output["checkpoints/.step-00000003.0.partial"]);

        var point = CheckpointCatalog.Resolve(resume, _output.Path);
        Assert.Equal(sound.Path, point.Path);
        Assert.Contains(Path.Combine(damaged.Path, "optimizer.safetensors"), Assert.Single(point.Warnings));
        Assert.EndsWith("That of step 1 is used instead.", point.Warnings[0]);
        Assert.Contains("optimizer.safetensors", Assert.Throws<SoraException>(() => CheckpointCatalog.Resolve(damaged.Path, _output.Path)).Message);
        Assert.Equal(sound.Path, CheckpointCatalog.Resolve(sound.Path, _output.Path).Path);
        Assert.Equal(point.Warnings, CheckpointCatalog.Resolve(_output.Path, "elsewhere").Warnings); // a run's folder is as good as its checkpoint
        using var model = LoadedModel.Load(_output.Path, "cpu");
        Assert.Equal((sound.Path, point.Warnings[0]), (model.Path, Assert.Single(model.Warnings)));
    }

    [Fact]
    public void Resolve_NothingThere_DependsOnWhatWasAsked()
    {
        Assert.Null(CheckpointCatalog.Resolve("auto", _output.Path).Path);
        Assert.Null(CheckpointCatalog.Resolve("false", _output.Path).Path);
        Assert.Contains("holds no checkpoint", Assert.Throws<SoraException>(() => CheckpointCatalog.Resolve("true", _output.Path)).Message);
        Assert.Contains("is not a checkpoint", Assert.Throws<SoraException>(() => CheckpointCatalog.Resolve(_output.Path, _output.Path)).Message);
    }

    [Fact]
    public void Resolve_FreshStartOverAnEarlierRun_IsRefused()
    {
        CheckpointFolder.Save(Contents(4), 0);
        Assert.Contains("step 4", Assert.Throws<SoraException>(() => CheckpointCatalog.Resolve("false", _output.Path)).Message);
    }

    [Fact]
    public void Resolve_AllDamaged_NeverStartsAfreshSilently()
    {
        File.Delete(Path.Combine(CheckpointFolder.Save(Contents(1), 0).Path, "model.safetensors"));
        Assert.Contains("model.safetensors is missing", Assert.Throws<SoraException>(() => CheckpointCatalog.Resolve("auto", _output.Path)).Message);
        Assert.Contains("model.safetensors is missing", Assert.Throws<SoraException>(() => LoadedModel.Load(_output.Path, "cpu")).Message);
    }

    [Fact]
    public void CheckMatches_SameJob_HasNoWarning()
    {
        var opened = CheckpointFolder.Open(CheckpointFolder.Save(Contents(1), 0).Path);
        Assert.Empty(opened.CheckMatches(_job with { OutputDir = "elsewhere", Workers = WorkerRange.Of(3) }, 257, "c0ffee"));
        Assert.Contains("learning_rate was 0.001", Assert.Single(opened.CheckMatches(_job with { LearningRate = 0.5 }, 257, "c0ffee")));
    }

    [Fact]
    public void CheckMatches_OtherShapeVocabularyOrCorpus_NamesTheDifference()
    {
        var opened = CheckpointFolder.Open(CheckpointFolder.Save(Contents(1), 0).Path);
        Assert.Contains("model.hidden_size is 16 in the checkpoint and 32 in the job", Mismatch(_job with { Model = _job.Model with { HiddenSize = 32 } }, 257, "c0ffee"));
        Assert.Contains("257 entries in the checkpoint and 300", Mismatch(_job, 300, "c0ffee"));
        Assert.Contains("the corpus is c0ffee in the checkpoint and decaf", Mismatch(_job, 257, "decaf"));
        Assert.Contains("model.max_position_embeddings is 16", Mismatch(_job with { ContextLength = 8 }, 257, "c0ffee"));

        string Mismatch(TrainingJob job, int vocabSize, string corpus) =>
            Assert.Throws<CheckpointMismatchException>(() => opened.CheckMatches(job, vocabSize, corpus)).Message;
    }

    [Fact]
    public void Manifest_OfALaterVersion_SaysSo()
    {
        var path = Path.Combine(CheckpointFolder.Save(Contents(1), 0).Path, "manifest.json");
        var manifest = JsonNode.Parse(File.ReadAllText(path))!;
        manifest["format_version"] = 99;
        File.WriteAllText(path, manifest.ToJsonString());
        Assert.Contains("format version 99", Assert.Throws<SoraException>(() => CheckpointFolder.Open(Path.GetDirectoryName(path)!)).Message);
    }

    [Fact]
    public void Manifest_NamesAFileOutsideTheFolder_IsRefused()
    {
        var folder = CheckpointFolder.Save(Contents(1), 0).Path;
        var manifest = CheckpointManifest.Read(folder) with { Files = [new CheckpointFile("../secret", 1, "")] };
        File.WriteAllBytes(Path.Combine(folder, "manifest.json"), manifest.ToUtf8());
        Assert.Contains("../secret", Assert.Throws<SoraException>(() => CheckpointFolder.Open(folder)).Message);
    }

    private CheckpointContents Contents(long step) => TinyCheckpoints.Describe(_output.Path, step, _model, _moments);

    private IEnumerable<string?> Children() => Directory.GetFileSystemEntries(_output["checkpoints"]).Select(path => Path.GetFileName(path)).Order(StringComparer.Ordinal);

    private static void FlipBit(string path, int position)
    {
        var bytes = File.ReadAllBytes(path);
        bytes[position] ^= 1;
        File.WriteAllBytes(path, bytes);
    }

    private sealed class FullDisk : ITokenizer
    {
        public string Kind => "byte";
        public int VocabSize => 257;
        public int EndOfText => 256;
        public void Encode(ReadOnlySpan<char> text, IBufferWriter<int> tokens) => throw new InvalidOperationException();
        public void Decode(ReadOnlySpan<int> tokens, IBufferWriter<byte> utf8) => throw new InvalidOperationException();

        public void Save(string folder)
        {
            File.WriteAllText(Path.Combine(folder, "tokenizer.json"), "{");
            throw new IOException("No space left on device");
        }
    }
}
