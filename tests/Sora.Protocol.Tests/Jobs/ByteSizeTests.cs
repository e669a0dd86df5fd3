using Sora.Protocol.Jobs;

namespace Sora.Protocol.Tests.Jobs;

public sealed class ByteSizeTests
{
    [Theory]
    [InlineData("5GB", 5_000_000_000)]
    [InlineData("1.5 gb", 1_500_000_000)]
    [InlineData("500MB", 500_000_000)]
    [InlineData("4KiB", 4096)]
    [InlineData("1000000", 1_000_000)]
    public void Parse_ASize_GivesBytes(string text, long bytes) => Assert.Equal(bytes, ByteSize.Parse(text));

    [Theory]
    [InlineData("")]
    [InlineData("GB")]
    [InlineData("0")]
    [InlineData("-1MB")]
    [InlineData("0.1")]
    [InlineData("5 giga")]
    [InlineData("99999999999999TB")]
    public void Parse_AnythingElse_GivesNull(string text) => Assert.Null(ByteSize.Parse(text));
}
