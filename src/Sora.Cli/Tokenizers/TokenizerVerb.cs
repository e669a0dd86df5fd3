using System.CommandLine;
using System.Globalization;
using System.Text.Json;
using Sora.Cli.Display;
using Sora.Cli.Shell;
using Sora.Model.Data;
using Sora.Model.Tokenization;
using Sora.Protocol.Jobs;

namespace Sora.Cli.Tokenizers;

/// <summary><c>sora tokenizer</c>: train a vocabulary, and see how one cuts text.</summary>
internal static class TokenizerVerb
{
    private static readonly JsonSerializerOptions Json = new() { PropertyNamingPolicy = JsonNamingPolicy.SnakeCaseLower };

    public static Command Create() => new Verb("tokenizer", "Train a vocabulary, and see how one cuts text.") { Train(), Show() };

    private static Verb Train()
    {
        var options = new CorpusOptions();
        var output = new Option<string>("--output", "-o") { Description = "Folder for tokenizer.json, which Hugging Face reads too.", HelpName = "DIR", Required = true };
        var json = new Option<bool>("--json") { Description = "Print one JSON object." };
        var verb = new Verb("train", "Train a byte-level BPE on text.",
            "sora tokenizer train dotnet-docs --vocab-size 8192 -o docs-tokenizer",
            "sora data prepare my-texts/ --tokenizer docs-tokenizer -o corpus") { output, json };
        options.AddTo(verb, withTokenizer: false);
        verb.SetAction(async (result, cancellationToken) =>
        {
            var folder = Path.GetFullPath(result.GetRequiredValue(output));
            if (File.Exists(Path.Combine(folder, "tokenizer.json")))
                throw new SoraException($"{folder} holds a tokenizer already. Choose another folder, or remove it.", ExitCode.Usage);
            var (data, settings) = options.Read(result);
            var (clock, asJson) = (TimeProvider.System, result.GetValue(json));
            var started = clock.GetTimestamp();
            // The object is all that may be on stdout.
            await using IRunDisplay display = asJson ? new PlainDisplay(Console.Error, Console.Error, clock) : RunDisplay.Create(json: false, clock);
            var tokenizer = await CorpusPreparer.CreateTokenizerAsync(data, settings, new DataReporter(display), cancellationToken);
            tokenizer.Save(folder);
            Console.Out.WriteLine(asJson
                ? JsonSerializer.Serialize(new TrainedTokenizer(Path.Combine(folder, "tokenizer.json"), tokenizer.VocabSize, clock.GetElapsedTime(started).TotalSeconds), Json)
                : string.Create(CultureInfo.InvariantCulture, $"tokenizer: {tokenizer.VocabSize:N0} entries in {folder}"));
            return ExitCode.Ok;
        });
        return verb;
    }

    private sealed record TrainedTokenizer(string Path, int VocabSize, double Seconds);

    private static Verb Show()
    {
        var name = new Argument<string>("tokenizer") { Description = "byte, o200k, cl100k, or the path of a tokenizer.json or of a folder that holds one." };
        var text = new Option<string>("--text") { Description = "Text to cut.", HelpName = "TEXT" };
        var json = new Option<bool>("--json") { Description = "Print one JSON object." };
        var verb = new Verb("show", "Print what a tokenizer is and how it cuts text.", "sora tokenizer show o200k --text 'Hello, world'", "sora tokenizer show corpus/") { name, text, json };
        verb.SetAction(result =>
        {
            var settings = CorpusOptions.Named(result.GetRequiredValue(name));
            if (settings.Type == TokenizerKind.Bpe)
                throw new SoraException("A bpe is trained on text first ('sora tokenizer train'); name the folder it was written to.", ExitCode.Usage);
            var tokenizer = TokenizerFiles.Create(settings, () => []);
            var given = result.GetValue(text);
            var summary = TokenizerSummary.Of(tokenizer, given ?? "");
            IReadOnlyList<TokenizerSample> samples = given is null ? summary.Samples : [TokenizerSample.Of(tokenizer, given)];
            if (result.GetValue(json))
            {
                Console.Out.WriteLine(JsonSerializer.Serialize(summary with { Samples = samples }, Json));
                return;
            }
            Console.Out.WriteLine(string.Create(CultureInfo.InvariantCulture,
                $"{summary.Kind}: {summary.VocabSize:N0} entries, end of text {summary.EndOfText}, {summary.BytesPerToken:0.00} bytes per token{(summary.IsLossless ? "" : ", NOT lossless")}"));
            foreach (var sample in samples)
            {
                Console.Out.WriteLine();
                Console.Out.WriteLine(string.Join('|', sample.Pieces));
                Console.Out.WriteLine(string.Join(' ', sample.Ids));
            }
        });
        return verb;
    }
}
