using Sora.Model.Data;

namespace Sora.Model.Tests.Data;

public class DiskErrorsTests
{
    [Fact]
    public void Explain_FullDisk_SaysSo()
    {
        Assert.SkipUnless(OperatingSystem.IsLinux(), "/dev/full, which is always full, is Linux's");
        var error = Assert.Throws<Sora.Protocol.Jobs.SoraException>(() => DiskErrors.Explain("/data/corpus", () =>
        {
            using var full = new FileStream("/dev/full", FileMode.Open, FileAccess.Write, FileShare.ReadWrite, bufferSize: 0);
            full.Write(new byte[10]);
        }));
        Assert.Equal("The disk is full: writing to /data/corpus failed. Free some space or choose a folder on another disk.", error.Message);
    }

    [Fact]
    public void Explain_NoPermission_SaysWhatToDo()
    {
        var error = Assert.Throws<Sora.Protocol.Jobs.SoraException>(() => DiskErrors.Explain("/data", () => throw new UnauthorizedAccessException("Access denied.")));
        Assert.Contains("Access denied. Change its permissions or choose another folder", error.Message);
        Assert.Equal(Sora.Protocol.Jobs.ExitCode.Usage, error.ExitCode);
    }

    [Fact]
    public void Explain_FileWhereAFolderShouldBe_NamesTheFile()
    {
        using var folder = new TestFolder();
        var (file, wanted) = (folder.File("notes.txt", "x"), folder["notes.txt/deep/corpus"]);
        var error = Assert.Throws<Sora.Protocol.Jobs.SoraException>(() => DiskErrors.Explain(wanted, () => Directory.CreateDirectory(wanted)));
        Assert.Equal($"{wanted} cannot be written: {file} is a file, not a folder. Choose another folder.", error.Message);
        Assert.Equal(Sora.Protocol.Jobs.ExitCode.Usage, error.ExitCode);
    }

    [Fact]
    public void Explain_PlaceThatTakesNothingIn_NamesIt()
    {
        Assert.SkipUnless(OperatingSystem.IsLinux(), "/proc, where nobody can create anything, is Linux's");
        var error = Assert.Throws<Sora.Protocol.Jobs.SoraException>(() => DiskErrors.Explain("/proc/corpus", () => File.WriteAllText("/proc/corpus/x", "x")));
        Assert.Equal("/proc/corpus cannot be written: nothing can be created in /proc. Choose another folder.", error.Message);
        Assert.Equal(Sora.Protocol.Jobs.ExitCode.Usage, error.ExitCode);
    }
}
