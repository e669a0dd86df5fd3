using System.CommandLine;
using System.Globalization;
using System.Text.Json;
using Sora.Cli.Display;
using Sora.Cli.Shell;
using Sora.Cli.Tokenizers;
using Sora.Model.Data;
using Sora.Model.Tokenization;
using Sora.Protocol.Jobs;

namespace Sora.Cli.Data;

/// <summary><c>sora data</c>: text to token shards, and a look into them.</summary>
internal static class DataVerb
{
    private const int PreviewTokens = 200;

    public static Command Create() => new Verb("data", "Turn text into token shards, and look into them.") { Prepare(), Show() };

    private static Verb Prepare()
    {
        var options = new CorpusOptions();
        var output = new Option<string>("--output", "-o") { Description = "Folder to write; must not exist or be empty.", HelpName = "DIR", Required = true };
        var split = new Option<double>("--validation-split") { Description = "Share of documents held out for evaluation.", HelpName = "SHARE", DefaultValueFactory = _ => new DataSettings().ValidationSplit };
        var threads = new Option<int>("--threads") { Description = "Threads that tokenize.", HelpName = "N", DefaultValueFactory = _ => Environment.ProcessorCount };
        var json = new Option<bool>("--json") { Description = "Print warnings and the result as JSON, one object a line." };
        var verb = new Verb("prepare", "Tokenize text into a folder of shards with a manifest.",
            "sora data prepare dotnet-docs -o docs-corpus",
            "sora data prepare my-texts/ 'more/*.jsonl.gz' https://example.org/a.parquet -o corpus --tokenizer o200k",
            "sora train job.yaml --data corpus") { output, split, threads, json };
        options.AddTo(verb);
        verb.SetAction(async (result, cancellationToken) =>
        {
            var (data, tokenizer) = options.Read(result);
            Check(result.GetValue(split) is >= 0 and < 1, "--validation-split", "a share from 0 to below 1");
            Check(result.GetValue(threads) >= 1, "--threads", "1 or more");
            await using var display = RunDisplay.Create(result.GetValue(json), TimeProvider.System);
            var preparer = new CorpusPreparer { Threads = result.GetValue(threads) };
            using var corpus = await preparer.PrepareAsync(data with { ValidationSplit = result.GetValue(split) }, tokenizer, result.GetRequiredValue(output), new DataReporter(display), cancellationToken);
            CorpusSummary.Show(corpus, display, "--validation-split 0");
            return ExitCode.Ok;
        });
        return verb;
    }

    private static Verb Show()
    {
        var folder = new Argument<string>("folder") { Description = "Folder made by 'sora data prepare', or the one 'sora train' names." };
        var verify = new Option<bool>("--verify") { Description = "Also read every byte and compare it with the manifest." };
        var json = new Option<bool>("--json") { Description = "Print the summary as one JSON object." };
        var verb = new Verb("show", "Print what a prepared corpus holds.", "sora data show docs-corpus --verify") { folder, verify, json };
        verb.SetAction((result, cancellationToken) =>
        {
            using var corpus = PreparedCorpus.Open(result.GetRequiredValue(folder));
            if (result.GetValue(verify)) corpus.Verify(cancellationToken);
            if (result.GetValue(json)) Console.Out.WriteLine(RunJson.Write(CorpusSummary.Of(corpus)));
            else Print(corpus, result.GetValue(verify));
            return Task.FromResult(ExitCode.Ok);
        });
        return verb;
    }

    private static void Print(PreparedCorpus corpus, bool verified)
    {
        var manifest = corpus.Manifest;
        void Line(string what, string value) => Console.Out.WriteLine($"{what,-12}{value}");
        string Part(ManifestSplit part) => string.Create(CultureInfo.InvariantCulture,
            $"{Format.Of(part.Documents, "document")}, {part.Tokens:N0} tokens, {Format.Bytes(part.TextBytes)} of text, {Format.Of(part.Shards.Count, "shard")}");
        Line("corpus", corpus.Folder);
        Line("hash", corpus.Hash + (verified ? " (every byte checked)" : ""));
        Line("sources", string.Join(", ", manifest.Sources));
        Line("tokenizer", string.Create(CultureInfo.InvariantCulture, $"{manifest.Tokenizer.Kind}, {manifest.Tokenizer.VocabSize:N0} entries, {manifest.Dtype} tokens"));
        Line("train", Part(manifest.Train));
        Line("validation", Part(manifest.Validation));
        if (manifest.Train.Tokens == 0) return;
        var tokens = new int[(int)Math.Min(PreviewTokens, manifest.Train.Shards[0].Tokens)];
        corpus.ReadTrain(0, 0, tokens);
        Console.Out.WriteLine($"\nIt begins:\n{TokenizerFiles.Load(corpus.Folder).Decode(tokens)}");
    }

    private static void Check(bool holds, string option, string wanted)
    {
        if (!holds) throw new SoraException($"{option} must be {wanted}.", ExitCode.Usage);
    }
}
