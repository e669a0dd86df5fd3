using Sora.Model.Checkpoints;

namespace Sora.Model.Tests.Checkpoints;

/// <summary>A worker that was put out may still live, and write what its successor writes: they must not hurt each other.</summary>
public sealed class ConcurrentSavesTests : IDisposable
{
    private const int Writers = 4;

    private readonly TemporaryFolder _output = new();

    public void Dispose() => _output.Dispose();

    [Theory]
    [InlineData(false, true)]
    [InlineData(true, true)]
    [InlineData(true, false)]
    public void Save_SameStepAtOnce_GivesOneSoundCheckpoint(bool damaged, bool canExchange)
    {
        for (var step = 1; step <= 10; step++)
        {
            if (damaged)
            {
                Directory.CreateDirectory(_output[$"checkpoints/step-{step:D8}"]);
                File.WriteAllText(_output[$"checkpoints/step-{step:D8}/manifest.json"], "{");
            }
            var saved = AtOnce(writer =>
            {
                using var tiny = new TinyCheckpoints(_output.Path);
                return CheckpointFolder.Save(tiny.Of(step), 0, new FailingDisk(int.MaxValue, powerLoss: false, canExchange));
            });
            Assert.Single(saved.Distinct());
            Assert.Empty(CheckpointFolder.Verify(saved[0].Path));
            Assert.Equal([$"step-{step:D8}"], Directory.GetDirectories(_output["checkpoints"]).Select(path => Path.GetFileName(path)));
            Directory.Delete(saved[0].Path, recursive: true);
        }
    }

    [Fact]
    public void Save_OneWriterBehindTheOther_AlwaysLeavesAWholeOne()
    {
        using var first = new TinyCheckpoints(_output.Path);
        CheckpointFolder.Save(first.Of(1), 1, FailingDisk.Never);
        var done = 0;
        AtOnce(writer =>
        {
            if (writer == 0)
            {
                var seen = 0L;
                while (Volatile.Read(ref done) < Writers - 1)
                {
                    // What was the newest when the names were read may have gone when the manifests are, because there is a newer one.
                    var at = seen;
                    var newest = Enumerable.Range(0, 5).Select(_ => CheckpointCatalog.List(_output.Path).LastOrDefault(checkpoint => checkpoint.Problem is null)).FirstOrDefault(one => one?.Step >= at);
                    Assert.NotNull(newest);
                    seen = newest.Step;
                }
                return 0;
            }
            using var tiny = new TinyCheckpoints(_output.Path);
            for (var step = 2; step <= 15; step++)
                CheckpointFolder.Save(tiny.Of(step + 3 - writer), 1, FailingDisk.Never);
            Interlocked.Increment(ref done);
            return 0;
        });
        Assert.Equal("step-00000017", Path.GetFileName(CheckpointCatalog.Resolve("true", _output.Path).Path));
    }

    private static IReadOnlyList<T> AtOnce<T>(Func<int, T> write)
    {
        using var start = new Barrier(Writers);
        var tasks = Enumerable.Range(0, Writers).Select(writer => Task.Factory.StartNew(
            () =>
            {
                start.SignalAndWait();
                return write(writer);
            },
            TaskCreationOptions.LongRunning)).ToArray();
        return Task.WhenAll(tasks).GetAwaiter().GetResult();
    }
}
