using System.CommandLine;
using System.Globalization;
using System.Text.Json;
using Sora.Cli.Display;
using Sora.Cli.Shell;
using Sora.Model.Checkpoints;
using Sora.Model.Inference;
using Sora.Protocol.Jobs;

namespace Sora.Cli.Generate;

/// <summary><c>sora generate</c>: continues a prompt, streaming to the terminal.</summary>
internal static class GenerateVerb
{
    public static Command Create()
    {
        var defaults = new GenerationOptions();
        var model = new Argument<string>("checkpoint") { Description = "A checkpoint, a run's output folder (newest checkpoint), or a Hugging Face model folder." };
        var prompt = new Option<string>("--prompt", "-p") { Description = "Text to continue; '-' reads it from stdin. Default: begin a new text.", HelpName = "TEXT" };
        var count = new Option<int>("--max-new-tokens") { Description = "Tokens to add at most.", HelpName = "N", DefaultValueFactory = _ => defaults.MaxNewTokens };
        var temperature = new Option<double>("--temperature") { Description = "0: always the likeliest token; 1: as the model says.", HelpName = "T", DefaultValueFactory = _ => defaults.Temperature };
        var topK = new Option<int>("--top-k") { Description = "Sample from the so many likeliest tokens; 0: from all.", HelpName = "K", DefaultValueFactory = _ => defaults.TopK };
        var topP = new Option<double>("--top-p") { Description = "Sample from the likeliest tokens that hold this share of probability.", HelpName = "P", DefaultValueFactory = _ => defaults.TopP };
        var seed = new Option<long>("--seed") { Description = "The same seed gives the same text.", HelpName = "N", DefaultValueFactory = _ => defaults.Seed };
        var device = new Option<string>("--device") { Description = "auto, cpu, cuda or cuda:N.", DefaultValueFactory = _ => "auto" };
        var baseModel = new Option<string?>("--base-model") { Description = "Of adapters: where the network lies that they belong to, if not where it lay when they were trained.", HelpName = "DIR" };
        var json = new Option<bool>("--json") { Description = "Print prompt and text as one JSON object." };
        var verb = new Verb("generate", "Continue text with a trained network.",
            "sora generate runs/quickstart --prompt 'Gets or sets the '",
            "sora generate runs/quickstart --temperature 0 --max-new-tokens 50 -p 'Returns'",
            "echo 'Once' | sora generate my-model -p - --top-k 50 --seed 7") { model, prompt, count, temperature, topK, topP, seed, device, baseModel, json };
        verb.SetAction((result, cancellationToken) =>
        {
            var options = new GenerationOptions
            {
                MaxNewTokens = result.GetValue(count),
                Temperature = result.GetValue(temperature),
                TopK = result.GetValue(topK),
                TopP = result.GetValue(topP),
                Seed = result.GetValue(seed),
            };
            options.Check();
            var text = result.GetValue(prompt) switch
            {
                null => "",
                "-" => StandardText.Read(),
                var given => given,
            };
            using var loaded = LoadedModel.Load(result.GetRequiredValue(model), result.GetRequiredValue(device), result.GetValue(baseModel));
            Warnings.Write(loaded.Warnings);
            var generator = new TextGenerator(loaded);
            if (generator.Shortened(text) is { } shortened)
                Warnings.Write([string.Create(CultureInfo.InvariantCulture, $"the prompt has {shortened.Tokens:N0} tokens and the context {loaded.Description.MaxPositions:N0}: only the last {shortened.Read:N0} of it are read")]);
            var pieces = generator.Generate(text, options, cancellationToken);
            if (result.GetValue(json)) Console.Out.WriteLine(JsonSerializer.Serialize(new { prompt = text, text = string.Concat(pieces) }));
            else Stream(text, pieces);
            return Task.FromResult(ExitCode.Ok);
        });
        return verb;
    }

    private static void Stream(string prompt, IEnumerable<string> pieces)
    {
        Console.Out.Write(prompt);
        foreach (var piece in pieces)
        {
            Console.Out.Write(Console.IsOutputRedirected ? piece : Format.Printable(piece));
            Console.Out.Flush();
        }
        Console.Out.WriteLine();
    }
}
