using System.Runtime.CompilerServices;
using Sora.Protocol.Jobs;

namespace Sora.Cli.Tests.Config;

public class ExamplesTests
{
    [Fact]
    public void Every_example_is_a_valid_job_named_like_its_file()
    {
        var files = Directory.GetFiles(Path.Combine(Root(), "examples"), "*.yaml");

        Assert.NotEmpty(files);
        Assert.All(files, file => Assert.Equal(Path.GetFileNameWithoutExtension(file), JobLoader.Load(file, new JobOverrides()).Job.Name));
    }

    private static string Root([CallerFilePath] string here = "") => Path.GetFullPath(Path.Combine(Path.GetDirectoryName(here)!, "../../.."));
}
