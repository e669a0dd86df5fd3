using System.Diagnostics;
using System.Runtime.InteropServices;
using Sora.Model.Checkpoints;

namespace Sora.Model.Tests.Checkpoints;

/// <summary>Whatever interrupts a save, the checkpoint before it is whole, is found, and the next save succeeds and tidies up.</summary>
public sealed class CheckpointCrashTests : IDisposable
{
    private const string ChildFolder = "SORA_TEST_SAVES_INTO";
    private const string FirstSave = "the first checkpoint is saved";

    private readonly TemporaryFolder _output = new();

    public void Dispose() => _output.Dispose();

    [Theory]
    [InlineData(true, true, true)]
    [InlineData(true, true, false)]
    [InlineData(false, false, true)]
    [InlineData(false, true, false)]
    public void Save_InterruptedAtAnyOperation_LeavesTheOneBefore(bool powerLoss, bool overAnother, bool canExchange)
    {
        using var tiny = new TinyCheckpoints(_output.Path);
        using var other = new TinyCheckpoints(_output.Path, seed: 2);
        var operations = int.MaxValue;
        for (var failsAt = 1; failsAt <= operations; failsAt++)
        {
            CheckpointFolder.Save(tiny.Of(1), 1, FailingDisk.Never);
            if (overAnother)
                CheckpointFolder.Save(other.Of(2), 0, FailingDisk.Never); // another job's: to be replaced
            var disk = new FailingDisk(failsAt, powerLoss, canExchange);
            var saved = false;
            try
            {
                CheckpointFolder.Save(tiny.Of(2), 1, disk);
                saved = true;
                if (disk.Operations < failsAt)
                    operations = disk.Operations;
            }
            catch (PowerLost)
            {
            }
            catch (CheckpointWriteException e)
            {
                Assert.Contains("No space left on device", e.Message);
                Assert.DoesNotContain(Directory.GetDirectories(_output["checkpoints"]), path => path.EndsWith(".partial", StringComparison.Ordinal));
            }

            var found = CheckpointCatalog.Resolve("auto", _output.Path);
            Assert.Empty(found.Warnings);
            Assert.Matches(saved ? "step-00000002$" : "step-0000000[12]$", found.Path);
            Assert.All(CheckpointCatalog.List(_output.Path), checkpoint => Assert.Empty(CheckpointFolder.Verify(checkpoint.Path)));

            Assert.Empty(CheckpointFolder.Verify(CheckpointFolder.Save(tiny.Of(3), 1, FailingDisk.Never).Path));
            Directory.Delete(_output["checkpoints"], recursive: true);
        }
        Assert.InRange(operations, 25, 100);
    }

    /// <summary>
    /// A stopped process has left on the disk what a killed one would have: the state is copied and looked at, and the process
    /// goes on to the next. At last it is killed indeed.
    /// </summary>
    [Fact]
    public async Task Save_ProcessKilledAtAnyMoment_LeavesTheOneBefore()
    {
        if (OperatingSystem.IsWindows())
            Assert.Skip("Needs the signals of Unix.");
        using var child = StartChild();
        try
        {
            await AwaitFirstSaveAsync(child);
            var random = new Random(1);
            var interrupted = 0;
            for (var moment = 0; moment < 30; moment++)
            {
                // About as long as a save takes, so that every part of it is met.
                SpinFor(TimeSpan.FromMilliseconds(random.NextDouble() * 60));
                Send(child, Signal.Stop);
                var copy = Directory.CreateDirectory(_output[$"copy-{moment}"]).FullName;
                using (var copying = Process.Start("cp", ["-r", _output["checkpoints"], copy])) // .NET's own minds the locks of the other process
                    await copying.WaitForExitAsync(TestContext.Current.CancellationToken);
                Send(child, Signal.Continue);
                interrupted += Directory.GetDirectories(Path.Combine(copy, "checkpoints"), ".*").Length > 0 ? 1 : 0;

                var found = CheckpointCatalog.Resolve("auto", copy);
                Assert.NotNull(found.Path);
                Assert.Empty(found.Warnings);
            }
            Assert.InRange(interrupted, 5, 30);
        }
        finally
        {
            child.Kill();
            await child.WaitForExitAsync(TestContext.Current.CancellationToken);
        }
        using var tiny = new TinyCheckpoints(_output.Path);
        var last = CheckpointCatalog.List(_output.Path)[^1].Step;
        CheckpointFolder.Save(tiny.Of(last + 1), 0);
        Assert.All(Directory.GetDirectories(_output["checkpoints"]), path => Assert.Empty(CheckpointFolder.Verify(path)));
    }

    /// <summary>What the process of the test above does.</summary>
    [Fact]
    public void Child_SavesUntilItIsKilled()
    {
        if (Environment.GetEnvironmentVariable(ChildFolder) is not { } folder)
        {
            Assert.Skip("Only as a process of its own.");
            return;
        }
        using var tiny = new TinyCheckpoints(folder);
        using var output = new StreamWriter(Console.OpenStandardOutput());
        output.AutoFlush = true;
        for (var step = 1; step < 100_000 && Directory.Exists(folder); step++)
        {
            CheckpointFolder.Save(tiny.Of(step), 2);
            if (step == 1)
                output.WriteLine(FirstSave);
        }
    }

    private Process StartChild()
    {
        var start = new ProcessStartInfo(Environment.ProcessPath!) { RedirectStandardOutput = true };
        if (Path.GetFileNameWithoutExtension(Environment.ProcessPath!) == "dotnet")
            start.ArgumentList.Add(typeof(CheckpointCrashTests).Assembly.Location);
        foreach (var argument in new[] { "-method", $"{typeof(CheckpointCrashTests).FullName}.{nameof(Child_SavesUntilItIsKilled)}" })
            start.ArgumentList.Add(argument);
        start.Environment[ChildFolder] = _output.Path;
        start.Environment["OMP_NUM_THREADS"] = "1";
        return Process.Start(start)!;
    }

    private static async Task AwaitFirstSaveAsync(Process child)
    {
        while (await child.StandardOutput.ReadLineAsync(TestContext.Current.CancellationToken) is { } line)
            if (line.EndsWith(FirstSave, StringComparison.Ordinal)) // behind colors, it may be
                return;
        Assert.Fail("The child ended before its first save.");
    }

    private static void SpinFor(TimeSpan time)
    {
        var started = Stopwatch.GetTimestamp();
        while (Stopwatch.GetElapsedTime(started) < time)
            Thread.Yield();
    }

    private enum Signal
    {
        Stop,
        Continue,
    }

    private static void Send(Process process, Signal signal)
    {
        var number = (signal, OperatingSystem.IsMacOS()) switch { (Signal.Stop, false) => 19, (Signal.Stop, true) => 17, (_, false) => 18, _ => 19 };
        Assert.Equal(0, Kill(process.Id, number));
    }

    [DllImport("libc", EntryPoint = "kill")]
    [DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
    private static extern int Kill(int process, int signal);
}
