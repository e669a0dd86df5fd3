using Sora.Protocol.Jobs;
using Sora.Protocol.Runs;

namespace Sora.Protocol.Tests.Runs;

public sealed class LossHistoryTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("sora-test-").FullName;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Fact]
    public void Append_ThenRead_GivesTheSame()
    {
        using (var history = LossHistory.Open(_folder, 0))
        {
            history.Append(Step(1, double.NaN));
            history.Append(Step(2, 3.5));
            history.Append(new Evaluated(2, 3.25, 25.8, 1.5, 1000));
        }
        var (steps, evaluations) = LossHistory.Read(_folder);
        Assert.Equal([Step(1, double.NaN), Step(2, 3.5)], steps);
        Assert.Equal([new Evaluated(2, 3.25, 25.8, 1.5, 1000)], evaluations);
        Assert.StartsWith("""{"event":"step","step":1,"loss":"NaN",""", File.ReadLines(Path.Combine(_folder, LossHistory.FileName)).First());
    }

    [Fact]
    public void Open_AtAnEarlierStep_DropsWhatIsRepeated()
    {
        using (var history = LossHistory.Open(_folder, 0))
            for (var step = 1; step <= 5; step++)
                history.Append(Step(step, step));
        using (var history = LossHistory.Open(_folder, 3))
            history.Append(Step(4, 40));
        Assert.Equal([1, 2, 3, 40], LossHistory.Read(_folder).Steps.Select(step => step.Loss));
    }

    [Fact]
    public void Open_LastLineCutShort_LosesThatStepOnly()
    {
        using (var history = LossHistory.Open(_folder, 0))
        {
            history.Append(Step(1, 1));
            history.Append(Step(2, 2));
        }
        using (var file = File.OpenWrite(Path.Combine(_folder, LossHistory.FileName)))
            file.SetLength(file.Length - 20);
        Assert.Equal([1], LossHistory.Read(_folder).Steps.Select(step => step.Step));
        using (var history = LossHistory.Open(_folder, 2))
            history.Append(Step(3, 3));
        Assert.Equal([1, 3], LossHistory.Read(_folder).Steps.Select(step => step.Step));
    }

    [Fact]
    public void Append_WhatWasToldBefore_IsNotRecordedAgain()
    {
        using (var history = LossHistory.Open(_folder, 0))
        {
            Assert.True(history.Append(Step(1, 1)));
            Assert.True(history.Append(Step(2, 2)));
            Assert.True(history.Append(new Evaluated(2, 3.25, 25.8, 1.5, 1000)));
            Assert.False(history.Append(Step(1, 1)));
            Assert.False(history.Append(new Evaluated(2, 3.25, 25.8, 1.5, 1000)));
            Assert.True(history.Append(Step(3, 3)));
        }
        using (var history = LossHistory.Open(_folder, 2))
        {
            Assert.False(history.Append(new Evaluated(2, 3.25, 25.8, 1.5, 1000)));
            Assert.False(history.Append(Step(2, 2)));
            Assert.True(history.Append(Step(3, 3)));
        }
        Assert.Equal(4, File.ReadLines(Path.Combine(_folder, LossHistory.FileName)).Count());
    }

    [Fact]
    public void Open_FolderThatCannotBe_SaysWhich()
    {
        var file = Path.Combine(_folder, "file");
        File.WriteAllText(file, "");
        Assert.Contains(file, Assert.Throws<SoraException>(() => LossHistory.Open(file, 0)).Message);
        Assert.Empty(LossHistory.Read(Path.Combine(_folder, "absent")).Steps);
    }

    private static StepCommitted Step(long step, double loss) => new(step, loss, 1, 1e-3, 1000, 2, step * 4096, 0.1, 0.01, 0);
}
