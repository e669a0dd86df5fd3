using System.CommandLine;
using System.Globalization;
using System.Text.Json;
using Sora.Cli.Display;
using Sora.Cli.Shell;
using Sora.Model.Checkpoints;
using Sora.Model.Data;
using Sora.Model.Evaluation;
using Sora.Protocol.Jobs;

namespace Sora.Cli.Evaluate;

/// <summary><c>sora evaluate</c>: how well a network predicts a text.</summary>
internal static class EvaluateVerb
{
    public static Command Create()
    {
        var model = new Argument<string>("checkpoint") { Description = "A checkpoint, a run's output folder (newest checkpoint), or a Hugging Face model folder." };
        var data = new Option<string[]>("--data")
        {
            Description = "Text to predict: files, folders, globs, URLs, dotnet-docs; or a prepared corpus, of which the held-out part is read. May be repeated.",
            HelpName = "INPUT",
            Required = true,
            Arity = ArgumentArity.OneOrMore,
        };
        var field = new Option<string>("--text-field") { Description = "The field of .jsonl and .parquet that holds the text.", HelpName = "NAME", DefaultValueFactory = _ => new DataSettings().TextField };
        var batch = new Option<int>("--batch-size") { Description = "Windows computed together.", HelpName = "N", DefaultValueFactory = _ => 8 };
        var device = new Option<string>("--device") { Description = "auto, cpu, cuda or cuda:N.", DefaultValueFactory = _ => "auto" };
        var baseModel = new Option<string?>("--base-model") { Description = "Of adapters: where the network lies that they belong to, if not where it lay when they were trained.", HelpName = "DIR" };
        var json = new Option<bool>("--json") { Description = "Print the result as one JSON object." };
        var verb = new Verb("evaluate", "Measure loss, perplexity and bits per byte on text.",
            "sora evaluate runs/quickstart --data test.txt",
            "sora evaluate my-model --data corpus/ --json") { model, data, field, batch, device, baseModel, json };
        verb.SetAction((result, cancellationToken) =>
        {
            if (result.GetValue(batch) < 1) throw new SoraException("--batch-size must be 1 or more.", ExitCode.Usage);
            var inputs = result.GetRequiredValue(data);
            using var corpus = inputs is [var only] && PreparedCorpus.IsAt(only) ? PreparedCorpus.Open(only) : null;
            using var loaded = LoadedModel.Load(result.GetRequiredValue(model), result.GetRequiredValue(device), result.GetValue(baseModel));
            Warnings.Write(loaded.Warnings);
            var text = corpus is null
                ? EvaluationText.ReadAsync(new DataSettings { Train = inputs, TextField = result.GetRequiredValue(field) }, loaded.Tokenizer, cancellationToken: cancellationToken).ToBlockingEnumerable(cancellationToken)
                : EvaluationText.HeldOut(corpus, loaded.Path);
            var score = new Evaluator(loaded, result.GetValue(batch)).Score(text, cancellationToken: cancellationToken);
            Console.Out.WriteLine(result.GetValue(json) ? ToJson(score) : ToText(score));
            return Task.FromResult(ExitCode.Ok);
        });
        return verb;
    }

    private static string ToText(TextScore score) => string.Create(CultureInfo.InvariantCulture,
        $"loss: {Format.Loss(score.Loss)}  perplexity: {score.Perplexity:0.00}  bits_per_byte: {score.BitsPerByte:0.000}  ({score.Tokens:N0} tokens, {score.Bytes:N0} bytes)");

    private static string ToJson(TextScore score) => JsonSerializer.Serialize(score, new JsonSerializerOptions
    {
        PropertyNamingPolicy = JsonNamingPolicy.SnakeCaseLower,
        NumberHandling = System.Text.Json.Serialization.JsonNumberHandling.AllowNamedFloatingPointLiterals,
    });
}
