using System.Globalization;
using System.Text.Encodings.Web;
using System.Text.Json;
using System.Text.Json.Nodes;
using Sora.Model.Zoo;
using Sora.Protocol.Jobs;

namespace Sora.Model.Checkpoints;

/// <summary>
/// <c>config.json</c> in the words of Hugging Face transformers, plus an object <c>sora</c> with the settings as the job
/// had them; a file without that object (somebody else's Llama or GPT-2) is read from the common keys alone.
/// </summary>
public static class HubConfig
{
    /// <summary>The file's name.</summary>
    public const string FileName = "config.json";

    private const int FormatVersion = 1;

    private static readonly JsonSerializerOptions _json = new() { WriteIndented = true, NewLine = "\n", Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };

    /// <summary>Writes a description.</summary>
    public static byte[] ToUtf8(ModelDescription model)
    {
        var settings = model.Settings;
        var intermediate = settings.Type == ModelKind.Decoder ? new DecoderShape(settings, model.VocabSize, model.MaxPositions).Intermediate : 0;
        var config = model.Architecture switch
        {
            HubArchitecture.Llama => new JsonObject
            {
                ["architectures"] = new JsonArray("LlamaForCausalLM"),
                ["model_type"] = "llama",
                ["hidden_size"] = settings.HiddenSize,
                ["intermediate_size"] = intermediate,
                ["num_hidden_layers"] = settings.NumHiddenLayers,
                ["num_attention_heads"] = settings.NumAttentionHeads,
                ["num_key_value_heads"] = settings.NumKeyValueHeads ?? settings.NumAttentionHeads,
                ["hidden_act"] = "silu",
                ["max_position_embeddings"] = model.MaxPositions,
                ["rms_norm_eps"] = Real(settings.NormEps),
                ["rope_theta"] = Real(settings.RopeTheta),
                ["rope_scaling"] = null,
                ["attention_bias"] = false,
                ["mlp_bias"] = false,
                ["attention_dropout"] = Real(settings.Dropout),
            },
            HubArchitecture.Gpt2 => new JsonObject
            {
                ["architectures"] = new JsonArray("GPT2LMHeadModel"),
                ["model_type"] = "gpt2",
                ["n_embd"] = settings.HiddenSize,
                ["n_inner"] = intermediate,
                ["n_layer"] = settings.NumHiddenLayers,
                ["n_head"] = settings.NumAttentionHeads,
                ["n_positions"] = model.MaxPositions,
                ["n_ctx"] = model.MaxPositions,
                ["activation_function"] = "gelu_new",
                ["layer_norm_epsilon"] = Real(settings.NormEps),
                ["embd_pdrop"] = Real(settings.Dropout),
                ["attn_pdrop"] = Real(settings.Dropout),
                ["resid_pdrop"] = Real(settings.Dropout),
                ["scale_attn_weights"] = true,
            },
            var own => new JsonObject
            {
                ["model_type"] = own == HubArchitecture.SoraLstm ? "sora_lstm" : "sora_decoder",
                ["max_position_embeddings"] = model.MaxPositions,
            },
        };
        config["vocab_size"] = model.VocabSize;
        config["tie_word_embeddings"] = model.TiedHead;
        config["initializer_range"] = Real(settings.InitializerRange);
        config["bos_token_id"] = model.EndOfText;
        config["eos_token_id"] = model.EndOfText;
        config["torch_dtype"] = "float32";
        config["sora"] = new JsonObject
        {
            ["format_version"] = FormatVersion,
            ["model"] = JsonNode.Parse(JobJson.Write(new TrainingJob { Model = settings }))!["model"]!.DeepClone(),
        };
        return JsonSerializer.SerializeToUtf8Bytes(config, _json);
    }

    // With a point even where the value is whole: Python readers that check types take 0 for an integer.
    private static JsonNode Real(double value)
    {
        var text = value.ToString("R", CultureInfo.InvariantCulture);
        return JsonNode.Parse(text.Contains('.') || text.Contains('E') ? text : text + ".0")!;
    }

    /// <summary>Reads <c>config.json</c> of a folder.</summary>
    /// <exception cref="SoraException">It is absent or damaged, or describes a network that this program cannot reproduce exactly; the message names the key.</exception>
    public static ModelDescription Read(string folder)
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

    internal static ModelDescription Parse(ReadOnlySpan<byte> utf8, string path)
    {
        try
        {
            var config = new ConfigReader(JsonNode.Parse(utf8) as JsonObject ?? throw new JsonException("it is no JSON object"), path);
            var type = config.Text("model_type");
            if (config.Section("sora") is { } own)
            {
                if (own.Whole("format_version") is var version and not FormatVersion)
                    throw config.Error($"is of format version {version}; this program reads {FormatVersion}. Use the version of sora that wrote it");
                var settings = JobJson.Parse($$"""{"model":{{own.Json("model")}}}""").Model;
                var positions = config.Whole(type == "gpt2" ? "n_positions" : "max_position_embeddings");
                return new ModelDescription(settings, config.Whole("vocab_size"), positions, config.Token("eos_token_id"));
            }
            return type switch
            {
                "llama" => ReadLlama(config),
                "gpt2" => ReadGpt2(config),
                _ => throw config.Error($"has model_type '{type}'; only llama, gpt2 and what sora writes can be read"),
            };
        }
        catch (Exception exception) when (exception is JsonException or InvalidOperationException or FormatException or OverflowException)
        {
            throw new SoraException($"{path} is not a valid configuration: {exception.Message}", ExitCode.InvalidInput, exception);
        }
    }

    private static ModelDescription ReadLlama(ConfigReader config)
    {
        var heads = config.Whole("num_attention_heads");
        var width = config.Whole("hidden_size");
        var rope = config.Section("rope_parameters") ?? config;
        config.MustBe("hidden_act", "silu", "silu");
        config.MustBe("attention_bias", "false", "false");
        config.MustBe("mlp_bias", "false", "false");
        config.MustBe("rope_scaling", "null", "null");
        rope.MustBe("rope_type", "default", "default");
        config.MustBe("head_dim", $"{width / heads}", $"{width / heads}", "null");
        var settings = new ModelSettings
        {
            Type = ModelKind.Decoder,
            HiddenSize = width,
            IntermediateSize = config.Whole("intermediate_size"),
            NumHiddenLayers = config.Whole("num_hidden_layers"),
            NumAttentionHeads = heads,
            NumKeyValueHeads = config.Whole("num_key_value_heads", heads),
            MaxPositionEmbeddings = config.Whole("max_position_embeddings", 2048),
            PositionEmbedding = PositionKind.Rope,
            RopeTheta = rope.Number("rope_theta", 10_000),
            Norm = NormKind.RmsNorm,
            NormEps = config.Number("rms_norm_eps", 1e-6),
            Activation = ActivationKind.SwiGlu,
            Bias = false,
            TieWordEmbeddings = config.Flag("tie_word_embeddings", false),
            Dropout = config.Number("attention_dropout", 0),
            InitializerRange = config.Number("initializer_range", 0.02),
        };
        return new ModelDescription(settings, config.Whole("vocab_size"), settings.MaxPositionEmbeddings.Value, config.Token("eos_token_id", 2));
    }

    private static ModelDescription ReadGpt2(ConfigReader config)
    {
        var width = config.Whole("n_embd", 768);
        config.MustBe("activation_function", "gelu_new", "gelu_new", "gelu_pytorch_tanh");
        config.MustBe("scale_attn_weights", "true", "true");
        config.MustBe("scale_attn_by_inverse_layer_idx", "false", "false");
        config.MustBe("add_cross_attention", "false", "false");
        var settings = new ModelSettings
        {
            Type = ModelKind.Decoder,
            HiddenSize = width,
            IntermediateSize = config.Whole("n_inner", 4 * width),
            NumHiddenLayers = config.Whole("n_layer", 12),
            NumAttentionHeads = config.Whole("n_head", 12),
            MaxPositionEmbeddings = config.Whole("n_positions", 1024),
            PositionEmbedding = PositionKind.Learned,
            Norm = NormKind.LayerNorm,
            NormEps = config.Number("layer_norm_epsilon", 1e-5),
            Activation = ActivationKind.Gelu,
            Bias = true,
            TieWordEmbeddings = config.Flag("tie_word_embeddings", true),
            Dropout = config.Number("resid_pdrop", 0.1),
            InitializerRange = config.Number("initializer_range", 0.02),
        };
        return new ModelDescription(settings, config.Whole("vocab_size", 50257), settings.MaxPositionEmbeddings.Value, config.Token("eos_token_id", 50256));
    }
}
