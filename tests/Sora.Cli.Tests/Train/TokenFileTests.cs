using Sora.Cli.Train;

namespace Sora.Cli.Tests.Train;

public class TokenFileTests
{
    [Fact]
    public void Only_this_user_can_read_the_token_and_it_goes_with_its_coordinator()
    {
        using var folder = new TemporaryFolder();
        folder.Write("token", "an old one that everybody may read");
        string path;
        using (var file = TokenFile.Write(folder.Path, "secret"))
        {
            path = file.Path;
            Assert.Equal("secret", File.ReadAllText(path).Trim());
            if (!OperatingSystem.IsWindows()) Assert.Equal(UnixFileMode.UserRead | UnixFileMode.UserWrite, File.GetUnixFileMode(path));
        }
        Assert.False(File.Exists(path));
    }
}
