using System.Text.Json;

namespace Sora.Cli.Tests.Tokenizers;

public sealed class TokenizerTests : IDisposable
{
    private readonly TemporaryFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Fact]
    public async Task A_trained_vocabulary_is_told_as_one_object_and_nothing_else()
    {
        var text = _folder.Write("text.txt", string.Concat(Enumerable.Range(0, 300).Select(line => $"Line {line} follows line {line - 1}.\n")));
        var trained = await SoraProcess.RunAsync(["tokenizer", "train", text, "--vocab-size", "300", "-o", "vocabulary", "--json"], _folder.Path);

        Assert.Equal(0, trained.ExitCode);
        var told = JsonDocument.Parse(Assert.Single(trained.Output.TrimEnd().Split('\n'))).RootElement;
        Assert.Equal(Path.Combine(_folder.Path, "vocabulary", "tokenizer.json"), told.GetProperty("path").GetString());
        Assert.True(File.Exists(told.GetProperty("path").GetString()));
        Assert.InRange(told.GetProperty("vocab_size").GetInt32(), 257, 300);
        Assert.True(told.GetProperty("seconds").GetDouble() > 0);
    }
}
