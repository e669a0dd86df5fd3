using System.Security.Cryptography;
using Sora.Model.Checkpoints;

namespace Sora.Model.Tests.Checkpoints;

/// <summary>Several workers write one checkpoint: who they are changes no byte, and whatever stops one of them harms none before it.</summary>
public sealed class SharedSaveTests : IDisposable
{
    private readonly TemporaryFolder _output = new();
    private readonly TinyCheckpoints _tiny;

    public SharedSaveTests() => _tiny = new TinyCheckpoints(_output.Path);

    public void Dispose()
    {
        _tiny.Dispose();
        _output.Dispose();
    }

    [Theory]
    [InlineData("5GB")]
    [InlineData("4KB")]
    public void Save_ByAnyNumberOfWriters_GivesTheSameFiles(string shardSize)
    {
        var alone = Digests(CheckpointFolder.Save(Of(1, shardSize), 0).Path);
        for (var writers = 2; writers <= 4; writers++)
        {
            var step = writers;
            var outcomes = Enumerable.Range(0, writers).Reverse().Select(index => SharedSave.Save(Of(1, shardSize, index, writers) with { Step = step, TokensSeen = 100 }, 0, FailingDisk.Never)).ToList();
            Assert.All(outcomes.SkipLast(1), outcome => Assert.Null(outcome.Saved));
            var saved = outcomes[^1].Saved!;
            Assert.Empty(CheckpointFolder.Verify(saved.Path));
            Assert.Equal(alone, Digests(saved.Path));
            Assert.Equal(CheckpointFolder.Open(_output["checkpoints/step-00000001"]).WeightsHash, saved.WeightsSha256);
        }
        Assert.Equal(["step-00000001", "step-00000002", "step-00000003", "step-00000004"], Children());
    }

    [Fact]
    public async Task Save_AllAtOnce_OneOfThemCompletesIt()
    {
        for (var step = 1; step <= 10; step++)
        {
            var outcomes = await Task.WhenAll(Enumerable.Range(0, 4).Select(index => Task.Run(() => SharedSave.Save(Of(step, "4KB", index, 4), 1, FailingDisk.Never))));
            var saved = Assert.Single(outcomes, outcome => outcome.Saved is not null).Saved!;
            Assert.Empty(CheckpointFolder.Verify(saved.Path));
            Assert.Equal([$"step-{step:D8}"], Children());
        }
    }

    [Fact]
    public async Task Save_TwoGroupsAtOnce_GiveOneSoundCheckpoint()
    {
        for (var step = 1; step <= 5; step++)
        {
            var outcomes = await Task.WhenAll(Enumerable.Range(0, 4).Select(writer => Task.Run(() => SharedSave.Save(Of(step, "4KB", writer % 2, 2, $"group{writer / 2}"), 0, FailingDisk.Never))));
            Assert.Equal(2, outcomes.Count(outcome => outcome.Saved is not null));
            Assert.Empty(CheckpointFolder.Verify(_output[$"checkpoints/step-{step:D8}"]));
            Assert.Equal(step, Children().Count());
        }
    }

    [Theory]
    [InlineData(true, 0)]
    [InlineData(true, 1)]
    [InlineData(false, 0)]
    [InlineData(false, 1)]
    public void Save_OneWriterFailsAtAnyOperation_LeavesTheOneBefore_AndTheNextOneComes(bool powerLoss, int failing)
    {
        var operations = int.MaxValue;
        for (var failsAt = 1; failsAt <= operations; failsAt++)
        {
            var before = CheckpointFolder.Save(Of(1), 1, FailingDisk.Never);
            var disk = new FailingDisk(failsAt, powerLoss);
            CheckpointInfo? saved = null;
            var failed = false;
            foreach (var index in new[] { 1 - failing, failing, 2 })
            {
                try
                {
                    saved ??= SharedSave.Save(Of(2, "4KB", index, 3), 1, index == failing ? disk : FailingDisk.Never).Saved;
                }
                catch (PowerLost)
                {
                    failed = true;
                }
                catch (CheckpointWriteException e)
                {
                    failed = true;
                    Assert.Contains("No space left on device", e.Message);
                }
            }
            if (disk.Operations < failsAt)
                operations = disk.Operations;
            Assert.True(saved is not null || failed);
            var found = CheckpointCatalog.Resolve("auto", _output.Path);
            Assert.Empty(found.Warnings);
            Assert.Equal(saved?.Path ?? before.Path, found.Path);

            var next = new List<ShareOutcome>();
            for (var index = 0; index < 3; index++)
                next.Add(SharedSave.Save(Of(3, "4KB", index, 3), 1, FailingDisk.Never));
            Assert.NotNull(next[2].Saved);
            Assert.Empty(CheckpointFolder.Verify(next[2].Saved!.Path));
            Assert.Equal(["step-00000003"], Children());
            Directory.Delete(_output["checkpoints"], recursive: true);
        }
        Assert.InRange(operations, 10, 200);
    }

    [Fact]
    public void Save_LastOneToWriteFailsAtAnyOperation_LeavesTheOneBefore_AndTheNextOneComes()
    {
        var operations = int.MaxValue;
        for (var failsAt = 1; failsAt <= operations; failsAt++)
        {
            CheckpointFolder.Save(Of(1), 1, FailingDisk.Never);
            SharedSave.Save(Of(2, "4KB", 0, 2), 1, FailingDisk.Never);
            var disk = new FailingDisk(failsAt, powerLoss: true);
            try
            {
                SharedSave.Save(Of(2, "4KB", 1, 2), 1, disk);
                if (disk.Operations < failsAt)
                    operations = disk.Operations;
            }
            catch (PowerLost)
            {
            }
            Assert.Empty(CheckpointCatalog.Resolve("true", _output.Path).Warnings);
            Assert.All(CheckpointCatalog.List(_output.Path), checkpoint => Assert.Empty(CheckpointFolder.Verify(checkpoint.Path)));
            SharedSave.Save(Of(3, "4KB", 0, 2), 1, FailingDisk.Never);
            Assert.NotNull(SharedSave.Save(Of(3, "4KB", 1, 2), 1, FailingDisk.Never).Saved);
            // What the dead process had taken for itself stays for as long as this process, which it was, lives.
            Assert.Equal(["step-00000003"], Children().Where(name => !name!.Contains($".{Environment.ProcessId}.", StringComparison.Ordinal)));
            Directory.Delete(_output["checkpoints"], recursive: true);
        }
        Assert.InRange(operations, 20, 200);
    }

    [Fact]
    public void Save_AWriterNeverComes_TheNextCheckpointSaysSoAndTidiesUp()
    {
        SharedSave.Save(Of(1, "4KB", 0, 2), 0, FailingDisk.Never);
        // The second one may only be slow.
        Assert.Empty(SharedSave.Save(Of(2, "4KB", 0, 2), 0, FailingDisk.Never).Abandoned);
        Assert.Equal(2, Children().Count());
        var third = SharedSave.Save(Of(3, "4KB", 0, 2), 0, FailingDisk.Never);
        Assert.Equal([new AbandonedCheckpoint(1, "2 workers wrote it together, and 1 of them finished their part.")], third.Abandoned);
        var completed = SharedSave.Save(Of(3, "4KB", 1, 2), 0, FailingDisk.Never);
        Assert.Equal(2, Assert.Single(completed.Abandoned).Step);
        Assert.Equal(["step-00000003"], Children());
    }

    [Fact]
    public void Save_AWriterNeverComes_OneWhoIsAloneLaterSaysSoToo()
    {
        SharedSave.Save(Of(1, "4KB", 0, 2), 0, FailingDisk.Never);
        // It is of processes that may still live.
        Assert.Empty(CheckpointFolder.SaveAlone(Of(2), 0, FailingDisk.Never).Abandoned);
        foreach (var path in Directory.GetFileSystemEntries(_output["checkpoints"], "*", SearchOption.AllDirectories).Append(Directory.GetDirectories(_output["checkpoints"], ".*").Single()))
            Directory.SetLastWriteTimeUtc(path, DateTime.UtcNow.AddHours(-1));
        Assert.Equal([new AbandonedCheckpoint(1, "2 workers wrote it together, and 1 of them finished their part.")], CheckpointFolder.SaveAlone(Of(3), 0, FailingDisk.Never).Abandoned);
        Assert.Equal(["step-00000002", "step-00000003"], Children());
    }

    [Theory]
    [InlineData(true, 1)]
    [InlineData(true, 2)]
    [InlineData(false, 1)]
    public void Save_WhoCompletedTheOneBeforeDied_IsSaid(bool lost, int writers)
    {
        if (!lost)
            CheckpointFolder.Save(Of(1), 0, FailingDisk.Never);
        const int deadProcess = 999_999_999;
        Directory.CreateDirectory(_output[$"checkpoints/.step-00000001.{Environment.MachineName}.{deadProcess}.{Guid.NewGuid():N}.taken.partial"]);
        var outcomes = Enumerable.Range(0, writers).Select(index => writers == 1
            ? CheckpointFolder.SaveAlone(Of(2), 0, FailingDisk.Never)
            : SharedSave.Save(Of(2, "4KB", index, writers), 0, FailingDisk.Never)).ToList();
        Assert.Equal(lost ? [1L] : [], outcomes.SelectMany(outcome => outcome.Abandoned).Select(one => one.Step));
        Assert.DoesNotContain(Children(), name => name!.EndsWith(".partial", StringComparison.Ordinal));
    }

    [Fact]
    public void Save_WritersWhoSeeDifferentGroups_CompleteNothing()
    {
        Assert.Null(SharedSave.Save(Of(1, "4KB", 0, 2, "two"), 0, FailingDisk.Never).Saved);
        Assert.Null(SharedSave.Save(Of(1, "4KB", 1, 3, "three"), 0, FailingDisk.Never).Saved);
        Assert.Null(SharedSave.Save(Of(1, "4KB", 2, 3, "three"), 0, FailingDisk.Never).Saved);
        Assert.Empty(CheckpointCatalog.List(_output.Path));
    }

    [Fact]
    public void Join_PartsOfDifferentJobs_IsRefused()
    {
        var part = CheckpointManifest.Read(CheckpointFolder.Save(Of(1), 0).Path);
        Assert.Throws<IOException>(() => SharedSave.Join([part with { Files = [] }, part with { JobSha256 = "another" }]));
        Assert.Throws<IOException>(() => SharedSave.Join([part, part]));
    }

    [Fact]
    public void Marks_MembersWhoReachTheSameFolder_WriteTogether()
    {
        using var elsewhere = new TemporaryFolder();
        var marks = Enumerable.Range(0, 4).Select(rank => MemberMarks.Place(rank == 2 ? elsewhere.Path : _output.Path, "run", 5, new byte[16], rank, 4)).ToList();
        var groups = marks.Select(mark => mark.Group()).ToList();
        Assert.Equal([(0, 3), (1, 3), (0, 0), (2, 3)], groups.Select(group => (group?.Index ?? 0, group?.Count ?? 0)));
        Assert.Single(groups.OfType<SaveGroup>().Select(group => group.Key).Distinct());

        // The next generation finds its own only.
        var next = MemberMarks.Place(_output.Path, "run", 6, new byte[16], 0, 4);
        Assert.Equal(SaveGroup.Alone, next.Group());
        Assert.Null(MemberMarks.Place(_output["nowhere"], "run", 6, new byte[16], 1, 4).Group());
        Assert.False(Directory.Exists(_output["nowhere"]));
        Assert.Single(Directory.GetDirectories(_output["checkpoints"]));
        next.Remove();
        Assert.Empty(Directory.GetDirectories(_output["checkpoints"]));
    }

    private CheckpointContents Of(long step, string shardSize = "4KB", int index = 0, int writers = 1, string key = "key")
    {
        var contents = _tiny.Of(step);
        return contents with { Job = contents.Job with { MaxShardSize = shardSize }, Group = writers == 1 ? SaveGroup.Alone : new SaveGroup(index, writers, key) };
    }

    private IEnumerable<string?> Children() => Directory.GetFileSystemEntries(_output["checkpoints"]).Select(path => Path.GetFileName(path)).Order(StringComparer.Ordinal);

    private static IEnumerable<(string, string)> Digests(string folder) => Directory.GetFiles(folder).Order(StringComparer.Ordinal)
        .Where(path => !path.EndsWith(CheckpointManifest.FileName, StringComparison.Ordinal))
        .Select(path => (Path.GetFileName(path), Convert.ToHexStringLower(SHA256.HashData(File.ReadAllBytes(path))))).ToList();
}
