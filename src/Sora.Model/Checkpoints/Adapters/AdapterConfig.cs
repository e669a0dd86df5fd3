using System.Text.Encodings.Web;
using System.Text.Json;
using System.Text.Json.Nodes;
using Sora.Model.Zoo.Adapters;
using Sora.Protocol.Jobs;

namespace Sora.Model.Checkpoints.Adapters;

/// <summary><c>adapter_config.json</c>, as Hugging Face's PEFT writes and reads it.</summary>
/// <param name="Lora">The adapters; every target named.</param>
/// <param name="BaseModel">The network they were trained on: a folder, or a name on Hugging Face's hub.</param>
public sealed record AdapterConfig(LoraSettings Lora, string BaseModel)
{
    /// <summary>The file's name.</summary>
    public const string FileName = "adapter_config.json";

    private static readonly JsonSerializerOptions _json = new() { WriteIndented = true, NewLine = "\n", Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };

    /// <summary>
    /// The adapters of a job. Checkpoints are written while training goes on: no network may be built here, not even one of shapes
    /// only, because that draws from libtorch's one random generator.
    /// </summary>
    /// <param name="job">The job.</param>
    /// <param name="weights">Names of the adapters' weights.</param>
    internal static AdapterConfig Of(TrainingJob job, IEnumerable<string> weights)
    {
        // PEFT goes by the ends of names; a module named in full is meant alone.
        var isExact = job.Lora.TargetModules.Count > 0 && !job.Lora.TargetModules.Contains(LoraSettings.AllLinear);
        return new AdapterConfig(job.Lora with { TargetModules = [.. isExact ? job.Lora.TargetModules : AdapterPlaces.Kinds(weights.Select(LoraAdapters.ModuleOf))] }, job.BaseModel);
    }

    /// <summary>The bytes of the file.</summary>
    /// <param name="model">The network the adapters belong to.</param>
    internal byte[] ToUtf8(ModelDescription model) => JsonSerializer.SerializeToUtf8Bytes(
        new JsonObject
        {
            ["peft_type"] = "LORA",
            ["task_type"] = "CAUSAL_LM",
            ["base_model_name_or_path"] = BaseModel,
            ["revision"] = null,
            ["inference_mode"] = true,
            ["r"] = Lora.R,
            ["lora_alpha"] = Lora.LoraAlpha == Math.Floor(Lora.LoraAlpha) ? JsonValue.Create((long)Lora.LoraAlpha) : JsonValue.Create(Lora.LoraAlpha),
            ["lora_dropout"] = Lora.LoraDropout,
            ["use_rslora"] = Lora.UseRslora,
            ["target_modules"] = new JsonArray(Lora.TargetModules.Select(name => (JsonNode?)JsonValue.Create(name)).ToArray()),
            // GPT-2's matrices lie transposed in its files; the adapters' do not.
            ["fan_in_fan_out"] = model.Architecture == HubArchitecture.Gpt2,
            ["bias"] = "none",
            ["modules_to_save"] = null,
            ["init_lora_weights"] = true,
            ["layers_to_transform"] = null,
            ["layers_pattern"] = null,
            ["rank_pattern"] = new JsonObject(),
            ["alpha_pattern"] = new JsonObject(),
        }, _json);

    /// <summary>Reads <c>adapter_config.json</c> of a folder.</summary>
    /// <exception cref="SoraException">It is absent or damaged, or describes adapters that this program does not have; the message names the key.</exception>
    public static AdapterConfig Read(string folder)
    {
        var path = Path.Combine(folder, FileName);
        try
        {
            return Parse(File.ReadAllBytes(path), path);
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            throw new SoraException($"Cannot read {path}: {exception.Message}", ExitCode.InvalidInput, exception);
        }
    }

    private static AdapterConfig Parse(ReadOnlySpan<byte> utf8, string path)
    {
        try
        {
            var json = JsonNode.Parse(utf8) as JsonObject ?? throw new JsonException("it is no JSON object");
            var config = new ConfigReader(json, path);
            config.MustBe("peft_type", "", "LORA");
            config.MustBe("bias", "none", "none");
            config.MustBe("modules_to_save", "null", "null", "[]");
            config.MustBe("use_dora", "false", "false");
            config.MustBe("lora_bias", "false", "false");
            config.MustBe("layers_to_transform", "null", "null");
            config.MustBe("rank_pattern", "{}", "{}", "null");
            config.MustBe("alpha_pattern", "{}", "{}", "null");
            var lora = new LoraSettings
            {
                R = config.Whole("r"),
                LoraAlpha = config.Number("lora_alpha", new LoraSettings().LoraAlpha),
                LoraDropout = config.Number("lora_dropout", 0),
                UseRslora = config.Flag("use_rslora", false),
                TargetModules = json["target_modules"] switch
                {
                    JsonArray names => [.. names.Select(name => name!.GetValue<string>())],
                    JsonValue one when one.GetValue<string>() == LoraSettings.AllLinear => [LoraSettings.AllLinear],
                    _ => throw config.Error("has target_modules that are no list of names; a pattern cannot be read"),
                },
            };
            return lora.R > 0 && lora.LoraAlpha > 0
                ? new AdapterConfig(lora, json["base_model_name_or_path"]?.GetValue<string>() ?? "")
                : throw config.Error($"has r {lora.R} and lora_alpha {lora.LoraAlpha}; both must be positive");
        }
        catch (Exception exception) when (exception is JsonException or InvalidOperationException or FormatException or OverflowException)
        {
            throw new SoraException($"{path} is not a valid configuration: {exception.Message}", ExitCode.InvalidInput, exception);
        }
    }
}
