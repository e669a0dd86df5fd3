using Sora.Model.Checkpoints;
using Sora.Model.Checkpoints.Storage;
using Sora.Protocol.Jobs;

namespace Sora.Model.Tests.Checkpoints.Storage;

public sealed class CheckpointBucketTests : IDisposable
{
    private static readonly S3Location _place = S3Location.Parse($"s3://{S3Server.Bucket}/runs/one");

    private readonly TemporaryFolder _output = new();
    private readonly TemporaryFolder _elsewhere = new();
    private readonly S3Server _server = new();
    private readonly CheckpointBucket _bucket;
    private readonly TinyCheckpoints _tiny;

    public CheckpointBucketTests()
    {
        _bucket = new CheckpointBucket(_server.Client(), _place, partSize: 10_000);
        _tiny = new TinyCheckpoints(_output.Path);
    }

    public void Dispose()
    {
        _tiny.Dispose();
        _bucket.Dispose();
        _server.Dispose();
        _elsewhere.Dispose();
        _output.Dispose();
    }

    [Fact]
    public void Upload_ThenFetchElsewhere_GivesTheSameBytes()
    {
        var local = Save(7);
        var uploaded = _bucket.Upload(local.Path, 0).Saved!;
        Assert.Equal($"s3://{S3Server.Bucket}/runs/one/step-00000007", uploaded.Path);
        Assert.Equal(local.WeightsSha256, uploaded.WeightsSha256);
        Assert.True(_server.Multiparts >= 2, "the weights and the optimizer's state are larger than a part");
        Assert.Equal((7, (string?)null), _bucket.List().Select(checkpoint => (checkpoint.Step, checkpoint.Problem)).Single());
        Assert.Empty(_bucket.Verify(7));

        var fetched = _bucket.Fetch(7, _elsewhere.Path);
        Assert.Empty(CheckpointFolder.Verify(fetched));
        foreach (var file in Directory.GetFiles(local.Path))
            Assert.Equal(File.ReadAllBytes(file), File.ReadAllBytes(Path.Combine(fetched, Path.GetFileName(file))));

        // Again is harmless, and costs nothing.
        var puts = _server.Puts;
        Assert.Equal(uploaded, _bucket.Upload(local.Path, 0).Saved);
        Assert.Equal(puts, _server.Puts);
    }

    [Fact]
    public void Upload_CutAtAnyRequest_IsNoCheckpointUntilTheManifestIsThere()
    {
        _bucket.Upload(Save(1).Path, 1);
        var (second, before) = (Save(2), _server.Puts);
        for (var cut = 1; ; cut++)
        {
            _server.CutPut = _server.Puts + cut;
            try
            {
                _bucket.Upload(second.Path, 1);
                break;
            }
            catch (CheckpointWriteException e)
            {
                Assert.Contains(second.Path, e.Message);
            }
            Assert.Equal([1], _bucket.List().Select(checkpoint => checkpoint.Step));
            Assert.Empty(_bucket.Verify(1));
        }
        Assert.InRange(_server.Puts - before, 20, 500);
        Assert.Equal([2], _bucket.List().Select(checkpoint => checkpoint.Step));
        Assert.Empty(_bucket.Verify(2));
    }

    [Theory]
    [InlineData("manifest.json")]
    [InlineData("config.json")]
    public void Upload_StoreKeepsHalfAndReportsSuccess_IsNoticed(string file)
    {
        var local = Save(1);
        _server.Halves = file;
        Assert.Contains(file, Assert.Throws<CheckpointWriteException>(() => _bucket.Upload(local.Path, 0)).Message);
        Assert.DoesNotContain(_bucket.List(), checkpoint => checkpoint.Problem is null);
        _server.Halves = null;
        _bucket.Upload(local.Path, 0);
        Assert.Empty(_bucket.Verify(1));
    }

    [Theory]
    [InlineData("config.json")]
    [InlineData("model.safetensors")]
    public void Upload_StoreKeepsOtherBytesAndReportsSuccess_IsNoticedByTheTag(string file)
    {
        var local = Save(1);
        _server.Damages = file;
        Assert.Contains(file, Assert.Throws<CheckpointWriteException>(() => _bucket.Upload(local.Path, 0)).Message);
        Assert.Empty(_bucket.List());
        _server.Damages = null;
        _bucket.Upload(local.Path, 0);
        Assert.Empty(_bucket.Verify(1));
    }

    [Fact]
    public void Upload_TagsOfTheStoreMeanNothing_AreNotCompared()
    {
        _server.TagsAtRandom = true;
        _bucket.Upload(Save(1).Path, 0);
        Assert.Empty(_bucket.Verify(1));
    }

    [Fact]
    public void Upload_OverADamagedOne_ReplacesIt()
    {
        var local = Save(1);
        _bucket.Upload(local.Path, 0);
        _server.Objects["runs/one/step-00000001/model.safetensors"] = [1, 2, 3];
        Assert.Contains("has 3 bytes", _bucket.List().Single().Problem);
        _bucket.Upload(local.Path, 0);
        Assert.Empty(_bucket.Verify(1));
    }

    [Fact]
    public void Upload_AboveTheLimit_RemovesTheOldest_AndRemoveAllTheRest()
    {
        _server.Objects["runs/one/notes.txt"] = [1];
        for (var step = 1; step <= 4; step++)
            _bucket.Upload(Save(step).Path, 2);
        Assert.Equal([3, 4], _bucket.List().Select(checkpoint => checkpoint.Step));
        _bucket.RemoveAll();
        Assert.Equal(["runs/one/notes.txt"], _server.Objects.Keys);
    }

    [Fact]
    public void Resolve_NewestIsDamaged_UsesTheOneBeforeAndSaysSo()
    {
        _bucket.Upload(Save(1).Path, 0);
        _bucket.Upload(Save(2).Path, 0);
        _server.Objects["runs/one/step-00000002/optimizer.safetensors"][500] ^= 1;
        Assert.Contains("optimizer.safetensors is damaged", Assert.Single(_bucket.Verify(2)));

        var point = CheckpointStore.Resolve("auto", _elsewhere.Path, _bucket);
        Assert.Equal($"{_place}/step-00000001", point.Path);
        Assert.Contains("optimizer.safetensors is damaged", Assert.Single(point.Warnings));
        Assert.Empty(CheckpointFolder.Verify(_elsewhere["checkpoints/step-00000001"]));
        Assert.Single(Directory.GetFileSystemEntries(_elsewhere["checkpoints"]));

        // The bucket's is whole here, and this folder's is newer than any sound one there.
        Assert.Equal(_output["checkpoints/step-00000003"], CheckpointStore.Resolve("auto", Path.GetDirectoryName(Path.GetDirectoryName(Save(3).Path))!, _bucket).Path);
        Assert.Contains("up to step 2", Assert.Throws<SoraException>(() => CheckpointStore.Resolve("false", _elsewhere.Path, _bucket)).Message);
    }

    [Fact]
    public void Resolve_BucketHoldsADamagedOneOnly_UsesTheSoundOneHere()
    {
        var local = Save(1);
        _bucket.Upload(local.Path, 0);
        _server.Objects["runs/one/step-00000001/optimizer.safetensors"][500] ^= 1;
        // The same step lies here: that is found when it is compared with the manifest.
        Assert.Equal($"{_place}/step-00000001", CheckpointStore.Resolve("true", _output.Path, _bucket).Path);
        Assert.True(_server.Objects.TryRemove("runs/one/step-00000001/optimizer.safetensors", out _));
        CheckpointStore.CheckResume("true", _output.Path, _bucket);
        var point = CheckpointStore.Resolve("true", _output.Path, _bucket);
        Assert.Equal(local.Path, point.Path);
        Assert.Contains("optimizer.safetensors is missing", Assert.Single(point.Warnings));
        Assert.Contains("is sound", Assert.Throws<SoraException>(() => CheckpointStore.Resolve("true", _elsewhere.Path, _bucket)).Message);
    }

    [Fact]
    public void CheckResume_RefusesWhatResolveWouldRefuse_AndFetchesNothing()
    {
        CheckpointStore.CheckResume("auto", _elsewhere.Path, _bucket);
        Assert.Throws<SoraException>(() => CheckpointStore.CheckResume("true", _elsewhere.Path, _bucket));
        _bucket.Upload(Save(1).Path, 0);
        CheckpointStore.CheckResume("auto", _elsewhere.Path, _bucket);
        Assert.Contains("up to step 1", Assert.Throws<SoraException>(() => CheckpointStore.CheckResume("false", _elsewhere.Path, _bucket)).Message);
        Assert.True(_server.Objects.TryRemove("runs/one/step-00000001/optimizer.safetensors", out _));
        Assert.Contains("optimizer.safetensors is missing", Assert.Throws<SoraException>(() => CheckpointStore.CheckResume("auto", _elsewhere.Path, _bucket)).Message);
        Assert.Empty(Directory.GetFileSystemEntries(_elsewhere.Path));
    }

    [Fact]
    public void Resolve_NothingThere_Begins() => Assert.Null(CheckpointStore.Resolve("auto", _elsewhere.Path, _bucket).Path);

    [Fact]
    public void WrongBucketOrCredentials_SaysWhatToCheck()
    {
        using var refused = new CheckpointBucket(_server.Client("other-key"), _place);
        Assert.Contains("Check AWS_ACCESS_KEY_ID", Assert.Throws<SoraException>(() => refused.List()).Message);
        using var nowhere = new CheckpointBucket(_server.Client(), S3Location.Parse("s3://nothing/here"));
        Assert.Contains("There is no bucket 'nothing'", Assert.Throws<SoraException>(() => nowhere.List()).Message);
        Assert.Contains("There is no bucket 'nothing'", Assert.Throws<CheckpointWriteException>(() => nowhere.Upload(Save(1).Path, 0)).Message);
        _server.Dispose();
        Assert.Contains("cannot be reached", Assert.Throws<SoraException>(() => _bucket.List()).Message);
    }

    [Theory]
    [InlineData("s3://bucket", "bucket", "")]
    [InlineData("s3://bucket/", "bucket", "")]
    [InlineData("s3://bucket/a/b/", "bucket", "a/b")]
    public void Location_Parse_ReadsBucketAndPrefix(string text, string bucket, string prefix) => Assert.Equal(new S3Location(bucket, prefix), S3Location.Parse(text));

    [Fact]
    public void Location_OfACheckpoint_NamesRunAndStep()
    {
        Assert.Equal((_place, 12), S3Location.Parse($"{_place}/step-00000012").AsCheckpoint());
        Assert.Equal((new S3Location("bucket", ""), 3), S3Location.Parse("s3://bucket/step-00000003/").AsCheckpoint());
        Assert.Null(_place.AsCheckpoint());
        Assert.Contains("names no bucket", Assert.Throws<SoraException>(() => S3Location.Parse("s3://")).Message);
    }

    private CheckpointInfo Save(long step) => CheckpointFolder.Save(_tiny.Of(step), 0, FailingDisk.Never);
}
