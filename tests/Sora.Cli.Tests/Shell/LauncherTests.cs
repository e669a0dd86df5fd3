using System.Diagnostics;
using System.Runtime.CompilerServices;

namespace Sora.Cli.Tests.Shell;

/// <summary>The <c>sora</c> script of a checkout.</summary>
public sealed class LauncherTests
{
    [Fact]
    public async Task It_builds_when_sources_changed_and_not_because_the_program_wrote_beside_itself()
    {
        if (OperatingSystem.IsWindows())
        {
            Assert.Skip("the script is for a Unix shell");
            return;
        }
        var root = Directory.CreateTempSubdirectory("sora-launcher-").FullName;
        try
        {
            File.Copy(Path.Combine(Checkout(), "sora"), Path.Combine(root, "sora"));
            var source = Write(root, "src/Sora.Cli/Program.cs", DateTime.UnixEpoch.AddDays(1));
            Write(root, "Directory.Build.props", DateTime.UnixEpoch.AddDays(1));
            Write(root, "src/Sora.Cli/bin/Release/net10.0/sora.dll", DateTime.UnixEpoch.AddDays(2));
            Write(root, "src/Sora.Cli/bin/Release/net10.0/native/libLibTorchSharp.GLIBCXX_3.so", DateTime.UnixEpoch.AddDays(3));
            // Folders made before the program, whose content is younger.
            foreach (var folder in (string[])["native", ".", "..", "../.."])
                Directory.SetLastWriteTimeUtc(Path.Combine(root, "src/Sora.Cli/bin/Release/net10.0", folder), DateTime.UnixEpoch.AddDays(1));
            var dotnet = Write(root, "path/dotnet", DateTime.UnixEpoch, "#!/bin/sh\necho \"$1\"\n");
            File.SetUnixFileMode(dotnet, UnixFileMode.UserRead | UnixFileMode.UserExecute);

            Assert.DoesNotContain("building", await RunAsync(root));
            File.SetLastWriteTimeUtc(source, DateTime.UnixEpoch.AddDays(4));
            Assert.Contains("building", await RunAsync(root));
        }
        finally
        {
            Directory.Delete(root, recursive: true);
        }
    }

    private static async Task<string> RunAsync(string root)
    {
        var start = new ProcessStartInfo("bash", [Path.Combine(root, "sora"), "--version"]) { RedirectStandardError = true, RedirectStandardOutput = true };
        start.Environment["PATH"] = $"{Path.Combine(root, "path")}:{Environment.GetEnvironmentVariable("PATH")}";
        using var process = Process.Start(start)!;
        var errors = process.StandardError.ReadToEndAsync(TestContext.Current.CancellationToken);
        var output = await process.StandardOutput.ReadToEndAsync(TestContext.Current.CancellationToken);
        Assert.Contains("sora.dll", output);
        return await errors;
    }

    private static string Write(string root, string name, DateTime time, string content = "")
    {
        var path = Path.Combine(root, name);
        Directory.CreateDirectory(Path.GetDirectoryName(path)!);
        File.WriteAllText(path, content);
        File.SetLastWriteTimeUtc(path, time);
        return path;
    }

    private static string Checkout([CallerFilePath] string here = "") => Path.GetFullPath(Path.Combine(Path.GetDirectoryName(here)!, "../../.."));
}
