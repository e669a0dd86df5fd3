using Sora.Model.Checkpoints;
using Sora.Model.Checkpoints.Storage;

namespace Sora.Model.Tests.Checkpoints.Storage;

/// <summary>Several workers upload one checkpoint: who they are changes no byte, and whatever stops one of them harms none before it.</summary>
public sealed class SharedUploadTests : IDisposable
{
    private static readonly S3Location _place = S3Location.Parse($"s3://{S3Server.Bucket}/runs/one");

    private readonly S3Server _server = new();
    private readonly List<TemporaryFolder> _outputs = [.. Enumerable.Range(0, 4).Select(_ => new TemporaryFolder())];
    private readonly List<CheckpointBucket> _buckets;
    private readonly TinyCheckpoints _tiny = new("nowhere");

    public SharedUploadTests() => _buckets = [.. Enumerable.Range(0, 4).Select(writer => new CheckpointBucket(_server.Client(ClientOf(writer)), _place))];

    public void Dispose()
    {
        _tiny.Dispose();
        _buckets.ForEach(bucket => bucket.Dispose());
        _outputs.ForEach(output => output.Dispose());
        _server.Dispose();
    }

    [Theory]
    [InlineData("5GB")]
    [InlineData("4KB")]
    public void Save_ByAnyNumberOfWriters_GivesTheSameObjects(string shardSize)
    {
        _buckets[0].Upload(CheckpointFolder.Save(Of(1, 0, 1, shardSize), 1, FailingDisk.Never).Path, 0);
        var alone = Objects();
        for (var writers = 2; writers <= 4; writers++)
        {
            _server.Objects.Clear();
            var outcomes = Enumerable.Range(0, writers).Reverse().Select(writer => Save(1, writer, writers, shardSize)).ToList();
            Assert.All(outcomes.SkipLast(1), outcome => Assert.Null(outcome.Saved));
            Assert.Equal(($"{_place}/step-00000001", 1L), (outcomes[^1].Saved!.Path, outcomes[^1].Saved!.Step));
            Assert.Equal(alone, Objects());
            Assert.Empty(_buckets[0].Verify(1));
        }
        // The first one keeps all of it, the others nothing.
        Assert.Empty(CheckpointFolder.Verify(_outputs[0]["checkpoints/step-00000001"]));
        Assert.All(_outputs.Skip(1), output => Assert.Empty(Directory.GetFileSystemEntries(output["checkpoints"])));
    }

    [Fact]
    public void Save_SameStepAgain_SendsNoFileAgain()
    {
        var first = Enumerable.Range(0, 3).Select(writer => Save(1, writer, 3)).ToList()[^1].Saved;
        var (objects, puts) = (Objects(), _server.Puts);
        Assert.Equal(first, Enumerable.Range(0, 3).Select(writer => Save(1, writer, 3, generation: 2)).ToList()[^1].Saved);
        Assert.Equal(objects, Objects());
        Assert.Equal(puts + 4, _server.Puts);
    }

    [Theory]
    [InlineData(0, false)]
    [InlineData(0, true)]
    [InlineData(1, false)]
    [InlineData(1, true)]
    public void Save_OneWriterFailsAtAnyRequest_LeavesTheOneBefore_AndTheNextOneComesAndTidiesUp(int failing, bool carriesOut)
    {
        Complete(1, 2);
        var before = Objects();
        var requests = int.MaxValue;
        for (var failsAt = 1; failsAt <= requests; failsAt++)
        {
            _server.RequestsOf(ClientOf(failing));
            _server.Fails = (ClientOf(failing), failsAt, carriesOut);
            CheckpointInfo? saved = null;
            var failed = false;
            foreach (var writer in new[] { failing, 1 - failing })
            {
                try
                {
                    saved ??= Save(2, writer, 2).Saved;
                }
                catch (CheckpointWriteException e)
                {
                    failed = true;
                    Assert.Contains("step 2", e.Message);
                }
                if (writer == failing && !failed)
                    requests = _server.RequestsOf(ClientOf(failing));
            }
            _server.Fails = null;
            Assert.True(saved is not null || failed);
            Assert.Equal(saved is null ? [1L] : [2], _buckets[3].List().Where(checkpoint => checkpoint.Problem is null).Select(checkpoint => checkpoint.Step));
            Assert.Empty(_buckets[3].Verify(saved is null ? 1 : 2));

            Complete(3, 2);
            Assert.Empty(_buckets[3].Verify(3));
            Assert.All(Objects(), one => Assert.Contains("/step-00000003/", one.Key));
            Assert.DoesNotContain(Objects(), one => one.Key.Contains("part-"));
            Restore(before);
        }
        Assert.InRange(requests, 5, 100);
    }

    [Fact]
    public void Save_LastWriterFailsAtAnyRequest_LeavesASoundOne_AndTheNextOneComesAndTidiesUp()
    {
        Complete(1, 2);
        Save(2, 0, 2);
        var before = Objects();
        for (var (failsAt, done) = (1, false); !done; failsAt++)
        {
            _server.RequestsOf(ClientOf(1));
            _server.Fails = (ClientOf(1), failsAt, CarriesOut: true);
            try
            {
                done = Save(2, 1, 2).Saved is not null;
            }
            catch (CheckpointWriteException)
            {
            }
            _server.Fails = null;
            var sound = _buckets[3].List().Where(checkpoint => checkpoint.Problem is null).Select(checkpoint => checkpoint.Step).ToList();
            Assert.NotEmpty(sound);
            Assert.All(sound, step => Assert.Empty(_buckets[3].Verify(step)));
            Complete(3, 2);
            Assert.All(Objects(), one => Assert.Contains("/step-00000003/", one.Key));
            Restore(before);
        }
    }

    [Fact]
    public void Save_AWriterNeverComes_TheNextCheckpointSaysSoAndTidiesUp()
    {
        Save(1, 0, 2);
        // The second one may only be slow.
        Assert.Empty(Save(2, 0, 2).Abandoned);
        Assert.Equal([new AbandonedCheckpoint(1, "2 workers uploaded it together, and 1 of them finished their part.")], Save(3, 0, 2).Abandoned);
        Assert.Equal(2, Assert.Single(Save(3, 1, 2).Abandoned).Step);
        Assert.All(Objects(), one => Assert.Contains("/step-00000003/", one.Key));
    }

    [Fact]
    public void Save_AWriterNeverComes_OneAloneLaterSaysSoToo()
    {
        Save(1, 0, 2);
        Assert.Empty(Alone(2).Abandoned);
        Assert.Equal(1, Assert.Single(Alone(3).Abandoned).Step);
        Assert.DoesNotContain(Objects(), one => one.Key.Contains("/step-00000001/"));

        ShareOutcome Alone(long step) => _buckets[0].Upload(CheckpointFolder.Save(Of(step, 0, 1), 1, FailingDisk.Never).Path, 0);
    }

    [Fact]
    public void Save_WritersOfDifferentGenerations_CompleteNothing()
    {
        Assert.Null(Save(1, 0, 2, generation: 1).Saved);
        Assert.Null(Save(1, 1, 2, generation: 2).Saved);
        Assert.Empty(_buckets[0].List());
        // The next generation completes its own, and leaves nothing of the others.
        Assert.NotNull(Save(1, 0, 2, generation: 2).Saved);
        Assert.Empty(_buckets[0].Verify(1));
        Assert.DoesNotContain(Objects(), one => one.Key.Contains("part-"));
    }

    [Fact]
    public async Task Save_TwoFindAtOnceThatAllIsThere_BothPutTheSameManifest()
    {
        using var told = new CountdownEvent(2);
        using var completing = new Barrier(2);
        _server.After = (method, key) =>
        {
            if (method == "PUT" && key.Contains("/part-"))
                told.Signal();
        };
        _server.Before = (method, key) =>
        {
            if (method == "GET" && key.Contains("/part-"))
                told.Wait(TimeSpan.FromMinutes(1));
            if (method == "PUT" && key.EndsWith("manifest.json", StringComparison.Ordinal))
                completing.SignalAndWait(TimeSpan.FromMinutes(1));
        };
        var outcomes = await Task.WhenAll(Enumerable.Range(0, 2).Select(writer => Task.Factory.StartNew(() => Save(1, writer, 2), TaskCreationOptions.LongRunning)));
        Assert.NotNull(outcomes[0].Saved);
        Assert.Equal(outcomes[0].Saved, outcomes[1].Saved);
        Assert.Empty(_buckets[0].Verify(1));
        Assert.DoesNotContain(Objects(), one => one.Key.Contains("part-"));
    }

    [Fact]
    public async Task Save_AllAtOnce_OneOfThemCompletesIt()
    {
        for (var step = 1; step <= 5; step++)
        {
            var outcomes = await Task.WhenAll(Enumerable.Range(0, 4).Select(writer => Task.Factory.StartNew(() => Save(step, writer, 4), TaskCreationOptions.LongRunning)));
            Assert.Contains(outcomes, outcome => outcome.Saved is not null);
            Assert.Empty(_buckets[0].Verify(step));
            Assert.All(Objects(), one => Assert.Contains($"/step-{step:D8}/", one.Key));
        }
    }

    private void Restore(SortedDictionary<string, byte[]> objects)
    {
        _server.Objects.Clear();
        foreach (var (key, bytes) in objects)
            _server.Objects[key] = bytes;
    }

    private void Complete(long step, int writers) => Assert.NotNull(Enumerable.Range(0, writers).Select(writer => Save(step, writer, writers)).ToList()[^1].Saved);

    private ShareOutcome Save(long step, int writer, int writers, string shardSize = "5GB", long generation = 1) =>
        SharedUpload.Save(Of(step, writer, writers, shardSize, generation), _buckets[writer], FailingDisk.Never);

    private CheckpointContents Of(long step, int writer, int writers, string shardSize = "5GB", long generation = 1)
    {
        var contents = _tiny.Of(step);
        return contents with
        {
            OutputDir = _outputs[writer].Path,
            Job = contents.Job with { MaxShardSize = shardSize, SaveTotalLimit = 1 },
            Group = writers == 1 ? SaveGroup.Alone : SaveGroup.InBucket("run", generation, new byte[16], writer, writers),
        };
    }

    private SortedDictionary<string, byte[]> Objects() => new(_server.Objects.ToDictionary(), StringComparer.Ordinal);

    private static string ClientOf(int writer) => $"test-key-{writer}";
}
