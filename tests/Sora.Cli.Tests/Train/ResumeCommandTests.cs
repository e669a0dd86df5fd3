using Sora.Cli.Train;

namespace Sora.Cli.Tests.Train;

public class ResumeCommandTests
{
    [Theory]
    [InlineData("train job.yaml", "sora train job.yaml --resume auto")]
    [InlineData("train job.yaml --output o --resume /a/b --max-steps 5", "sora train job.yaml --output o --max-steps 5 --resume auto")]
    [InlineData("train --overwrite job.yaml --set model.dropout=0.1", "sora train job.yaml --set model.dropout=0.1 --resume auto")]
    public void The_command_typed_goes_on_with_the_same_run(string typed, string expected) =>
        Assert.Equal(expected, ResumeCommand.Of(null, typed.Split(' ')));

    [Fact]
    public void Words_a_shell_would_take_apart_are_quoted() =>
        Assert.Equal("'/my sora' train 'my job.yaml' --data '*.txt' --resume auto", ResumeCommand.Of("/my sora", ["train", "my job.yaml", "--data", "*.txt"]));
}
