using Sora.Cli.Train;
using Sora.Protocol.Jobs;

namespace Sora.Cli.Tests.Train;

public class OutputFolderTests : IDisposable
{
    private readonly TemporaryFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Fact]
    public void A_run_that_never_began_leaves_no_folder_behind()
    {
        var output = OutputFolder.Open(Path.Combine(_folder.Path, "a", "b"));
        output.TakeBack("coordinator");

        Assert.Empty(Directory.GetFileSystemEntries(_folder.Path));
    }

    [Fact]
    public void What_was_there_before_or_was_written_since_stays()
    {
        Directory.CreateDirectory(Path.Combine(_folder.Path, "a"));
        OutputFolder.Open(Path.Combine(_folder.Path, "a")).TakeBack("coordinator");
        var used = OutputFolder.Open(Path.Combine(_folder.Path, "x", "y"));
        File.WriteAllText(Path.Combine(used.Path, "kept.txt"), "");
        used.TakeBack("coordinator");

        Assert.True(Directory.Exists(Path.Combine(_folder.Path, "a")));
        Assert.True(File.Exists(Path.Combine(used.Path, "kept.txt")));
    }

    [Fact]
    public void A_second_run_is_kept_out_until_the_first_has_ended()
    {
        var path = Path.Combine(_folder.Path, "out");
        using (OutputFolder.Open(path))
        {
            var error = Assert.Throws<SoraException>(() => OutputFolder.Open(path));
            Assert.Equal(ExitCode.Usage, error.ExitCode);
            Assert.Contains("Another run", error.Message);
        }
        OutputFolder.Open(path).Dispose();
        Assert.Empty(Directory.GetFileSystemEntries(path));
    }

    [Fact]
    public void A_folder_that_cannot_be_written_is_named_with_what_to_do()
    {
        var file = _folder.Write("file", "");
        var error = Assert.Throws<SoraException>(() => OutputFolder.Open(Path.Combine(file, "out")));

        Assert.Equal(ExitCode.Usage, error.ExitCode);
        Assert.Contains("--output", error.Message);
    }
}
