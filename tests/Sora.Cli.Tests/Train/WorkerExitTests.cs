using Sora.Cli.Train;

namespace Sora.Cli.Tests.Train;

public class WorkerExitTests
{
    [Theory]
    [InlineData(1, "exit code 1")]
    [InlineData(137, "killed by signal 9, SIGKILL: often the system was out of memory")]
    [InlineData(139, "killed by signal 11, SIGSEGV: a native library crashed")]
    [InlineData(143, "killed by signal 15")]
    public void The_way_a_process_ended_is_told_in_words(int code, string words) => Assert.Equal(words, new WorkerExit(7, code).ToString());
}
