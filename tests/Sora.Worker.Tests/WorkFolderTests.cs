namespace Sora.Worker.Tests;

public sealed class WorkFolderTests : IDisposable
{
    private readonly string _parent = Directory.CreateTempSubdirectory("sora-folders-").FullName;

    public void Dispose() => Directory.Delete(_parent, recursive: true);

    [Fact]
    public void A_worker_leaves_nothing_behind()
    {
        using (var folder = WorkFolder.Create(_parent)) File.WriteAllText(Path.Combine(folder.Path, "exchange"), "");

        Assert.Empty(Directory.GetFileSystemEntries(_parent));
    }

    [Fact]
    public void What_a_killed_worker_left_goes_and_what_a_living_one_has_stays()
    {
        var abandoned = Directory.CreateDirectory(Path.Combine(_parent, "sora-worker-dead")).FullName;
        File.WriteAllText(Path.Combine(abandoned, ".lock"), "");
        File.WriteAllText(Path.Combine(abandoned, "exchange"), "");
        using var living = WorkFolder.Create(_parent);
        using var next = WorkFolder.Create(_parent);

        Assert.False(Directory.Exists(abandoned));
        Assert.True(Directory.Exists(living.Path));
        Assert.True(Directory.Exists(next.Path));
    }

    [Fact]
    public void Folders_that_are_not_proven_to_be_a_dead_workers_stay()
    {
        var other = Directory.CreateDirectory(Path.Combine(_parent, "other")).FullName;
        File.WriteAllText(Path.Combine(other, ".lock"), "");
        var unlocked = Directory.CreateDirectory(Path.Combine(_parent, "sora-worker-without-a-lock")).FullName;
        if (!OperatingSystem.IsWindows()) Directory.CreateSymbolicLink(Path.Combine(_parent, "sora-worker-link"), other);
        using var folder = WorkFolder.Create(_parent);

        Assert.True(File.Exists(Path.Combine(other, ".lock")));
        Assert.True(Directory.Exists(unlocked));
    }
}
