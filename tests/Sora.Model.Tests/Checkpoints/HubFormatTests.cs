using System.Text;
using System.Text.Json.Nodes;
using Sora.Model.Checkpoints;
using Sora.Model.Tokenization;
using Sora.Model.Training;
using Sora.Protocol.Jobs;
using TorchSharp;
using static TorchSharp.torch;

namespace Sora.Model.Tests.Checkpoints;

public class HubFormatTests
{
    private static readonly long[] _tokens = [3, 1, 4, 1, 5, 9, 2, 6];

    [Theory, MemberData(nameof(TinyModels.Names), MemberType = typeof(TinyModels))]
    public void ExportedAndImported_GivesTheSameLogits(string name)
    {
        using var folder = new TemporaryFolder();
        var description = TinyModels.Describe(TinyModels.All[name]);
        using var original = TinyModels.Random(description.Settings);
        using (var exported = HubWeights.Export(description, original.NamedWeights()))
            SafetensorsWriter.Write(folder[HubWeights.FileName], [.. exported.Tensors.Select(TensorFiles.ToRaw)]);
        File.WriteAllBytes(folder[HubConfig.FileName], HubConfig.ToUtf8(description));

        var read = HubConfig.Read(folder.Path);
        Assert.Equal(description, read);
        using var file = SafetensorsFile.Open(folder[HubWeights.FileName]);
        using var imported = HubWeights.Import(read, file);
        using var again = TinyModels.Load(read, imported.Tensors);
        Assert.Equal(TinyModels.Logits(original, _tokens), TinyModels.Logits(again, _tokens));
    }

    [Fact]
    public void Export_Gpt2_HasTheNamesAndShapesOfGpt2LMHeadModel()
    {
        using var model = TinyModels.Random(TinyModels.Gpt2);
        using var exported = HubWeights.Export(TinyModels.Describe(TinyModels.Gpt2), model.NamedWeights());
        var shapes = exported.Tensors.ToDictionary(tensor => tensor.Name, tensor => string.Join("x", tensor.Value.shape));
        Assert.Equal("257x16", shapes["transformer.wte.weight"]);
        Assert.Equal("16x16", shapes["transformer.wpe.weight"]);
        Assert.Equal("16x48", shapes["transformer.h.1.attn.c_attn.weight"]);
        Assert.Equal("48", shapes["transformer.h.1.attn.c_attn.bias"]);
        Assert.Equal("16x64", shapes["transformer.h.0.mlp.c_fc.weight"]);
        Assert.Equal("64x16", shapes["transformer.h.0.mlp.c_proj.weight"]);
        Assert.Equal("16", shapes["transformer.ln_f.bias"]);
        Assert.DoesNotContain("lm_head.weight", shapes.Keys);
        Assert.Equal(2 + (2 * 12) + 2, shapes.Count);
    }

    [Fact]
    public void Export_TiedLlama_HasTheNamesOfLlamaForCausalLM()
    {
        using var model = TinyModels.Random(TinyModels.TiedLlama);
        using var exported = HubWeights.Export(TinyModels.Describe(TinyModels.TiedLlama), model.NamedWeights());
        string[] perLayer =
        [
            "input_layernorm.weight", "mlp.down_proj.weight", "mlp.gate_proj.weight", "mlp.up_proj.weight", "post_attention_layernorm.weight",
            "self_attn.k_proj.weight", "self_attn.o_proj.weight", "self_attn.q_proj.weight", "self_attn.v_proj.weight",
        ];
        var expected = Enumerable.Range(0, 2).SelectMany(layer => perLayer.Select(name => $"model.layers.{layer}.{name}"))
            .Concat(["model.embed_tokens.weight", "model.norm.weight"]).Order(StringComparer.Ordinal);
        Assert.Equal(expected, exported.Tensors.Select(tensor => tensor.Name).Order(StringComparer.Ordinal));
    }

    [Theory]
    [InlineData("")]
    [InlineData("transformer.")]
    public void Import_Gpt2MadeElsewhere_ComputesWhatGpt2Computes(string prefix)
    {
        using var folder = new TemporaryFolder();
        using var scope = NewDisposeScope();
        const string config = """{"model_type":"gpt2","vocab_size":11,"n_embd":8,"n_layer":2,"n_head":2,"n_positions":8,"eos_token_id":10,"activation_function":"gelu_new"}""";
        var weights = RandomTensors(
        [
            ("wte.weight", [11, 8]), ("wpe.weight", [8, 8]), ("ln_f.weight", [8]), ("ln_f.bias", [8]),
            .. Enumerable.Range(0, 2).SelectMany(layer => new (string, long[])[]
            {
                ($"h.{layer}.ln_1.weight", [8]), ($"h.{layer}.ln_1.bias", [8]), ($"h.{layer}.ln_2.weight", [8]), ($"h.{layer}.ln_2.bias", [8]),
                ($"h.{layer}.attn.c_attn.weight", [8, 24]), ($"h.{layer}.attn.c_attn.bias", [24]), ($"h.{layer}.attn.c_proj.weight", [8, 8]), ($"h.{layer}.attn.c_proj.bias", [8]),
                ($"h.{layer}.mlp.c_fc.weight", [8, 32]), ($"h.{layer}.mlp.c_fc.bias", [32]), ($"h.{layer}.mlp.c_proj.weight", [32, 8]), ($"h.{layer}.mlp.c_proj.bias", [8]),
                ($"h.{layer}.attn.bias", [1, 1, 8, 8]),
            }),
        ]);
        Write(folder, config, weights, prefix);

        var expected = Gpt2Reference(weights, [3, 1, 4, 1, 5], heads: 2, layers: 2);
        AssertClose(expected, LoadAndRun(folder, [3, 1, 4, 1, 5]));
    }

    [Fact]
    public void Import_LlamaMadeElsewhere_ComputesWhatLlamaComputes()
    {
        using var folder = new TemporaryFolder();
        using var scope = NewDisposeScope();
        const string config = """
            {"model_type":"llama","vocab_size":11,"hidden_size":16,"intermediate_size":20,"num_hidden_layers":2,"num_attention_heads":4,"num_key_value_heads":2,
             "max_position_embeddings":8,"rms_norm_eps":1e-6,"rope_theta":500.0,"hidden_act":"silu","tie_word_embeddings":false,"eos_token_id":[7,8]}
            """;
        var weights = RandomTensors(
        [
            ("model.embed_tokens.weight", [11, 16]), ("model.norm.weight", [16]), ("lm_head.weight", [11, 16]),
            .. Enumerable.Range(0, 2).Select(layer => $"model.layers.{layer}.").SelectMany(layer => new (string, long[])[]
            {
                (layer + "input_layernorm.weight", [16]), (layer + "post_attention_layernorm.weight", [16]),
                (layer + "self_attn.q_proj.weight", [16, 16]), (layer + "self_attn.k_proj.weight", [8, 16]), (layer + "self_attn.v_proj.weight", [8, 16]), (layer + "self_attn.o_proj.weight", [16, 16]),
                (layer + "mlp.gate_proj.weight", [20, 16]), (layer + "mlp.up_proj.weight", [20, 16]), (layer + "mlp.down_proj.weight", [16, 20]),
                (layer + "self_attn.rotary_emb.inv_freq", [2]),
            }),
        ]);
        Write(folder, config, weights, "");

        Assert.Equal(7, HubConfig.Read(folder.Path).EndOfText);
        AssertClose(LlamaReference(weights, [3, 1, 4, 1, 5], layers: 2, theta: 500), LoadAndRun(folder, [3, 1, 4, 1, 5]));
    }

    [Theory]
    [InlineData("hidden_act", "\"gelu\"")]
    [InlineData("rope_scaling", """{"rope_type":"llama3","factor":8.0}""")]
    [InlineData("rope_parameters", """{"rope_type":"yarn","rope_theta":10000.0}""")]
    [InlineData("attention_bias", "true")]
    [InlineData("head_dim", "7")]
    [InlineData("model_type", "\"mamba\"")]
    public void Read_NetworkThatIsNotOurs_NamesTheKey(string key, string value)
    {
        var config = JsonNode.Parse("""{"model_type":"llama","vocab_size":11,"hidden_size":16,"intermediate_size":20,"num_hidden_layers":2,"num_attention_heads":4,"head_dim":4,"eos_token_id":1}""")!;
        HubConfig.Parse(Encoding.UTF8.GetBytes(config.ToJsonString()), "config.json");
        config[key] = JsonNode.Parse(value);
        var error = Assert.Throws<SoraException>(() => HubConfig.Parse(Encoding.UTF8.GetBytes(config.ToJsonString()), "config.json"));
        Assert.Contains(key == "rope_parameters" ? "rope_type" : key, error.Message);
    }

    [Theory]
    [InlineData("")]
    [InlineData("[]")]
    [InlineData("{")]
    [InlineData("{}")]
    [InlineData("""{"model_type":5}""")]
    [InlineData("""{"model_type":"llama","vocab_size":"many"}""")]
    [InlineData("""{"model_type":"gpt2","sora":{"format_version":9}}""")]
    [InlineData("""{"model_type":"gpt2","sora":{"format_version":1,"model":{"hidden_sise":5}},"vocab_size":1}""")]
    public void Read_DamagedConfig_IsRefused(string json) =>
        Assert.Equal(ExitCode.InvalidInput, Assert.Throws<SoraException>(() => HubConfig.Parse(Encoding.UTF8.GetBytes(json), "config.json")).ExitCode);

    [Fact]
    public void Import_TensorMissingOrUnknown_IsNamed()
    {
        using var folder = new TemporaryFolder();
        using var scope = NewDisposeScope();
        var description = TinyModels.Describe(TinyModels.Gpt2);
        using var model = TinyModels.Random(TinyModels.Gpt2);
        using var exported = HubWeights.Export(description, model.NamedWeights());
        var raw = exported.Tensors.Select(TensorFiles.ToRaw).ToList();
        SafetensorsWriter.Write(folder["missing"], raw.Where(tensor => tensor.Name != "transformer.h.1.ln_2.bias").ToList());
        SafetensorsWriter.Write(folder["more"], [.. raw, raw[0] with { Name = "transformer.h.2.ln_1.weight" }]);
        Assert.Contains("transformer.h.1.ln_2.bias", Assert.Throws<SoraException>(() => Import("missing")).Message);
        Assert.Contains("transformer.h.2.ln_1.weight", Assert.Throws<SoraException>(() => Import("more")).Message);

        void Import(string name)
        {
            using var file = SafetensorsFile.Open(folder[name]);
            using var imported = HubWeights.Import(description, file);
        }
    }

    [Fact]
    public void Load_WeightsSplitOverFiles_AreReadTogether()
    {
        using var folder = new TemporaryFolder();
        using var scope = NewDisposeScope();
        var description = TinyModels.Describe(TinyModels.Llama);
        using var model = TinyModels.Random(TinyModels.Llama);
        using var exported = HubWeights.Export(description, model.NamedWeights());
        var raw = exported.Tensors.Select(TensorFiles.ToRaw).ToList();
        string[] names = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"];
        SafetensorsWriter.Write(folder[names[0]], raw[..5]);
        SafetensorsWriter.Write(folder[names[1]], raw[5..]);
        var map = raw.Select((tensor, i) => KeyValuePair.Create(tensor.Name, (JsonNode?)names[i < 5 ? 0 : 1]));
        File.WriteAllText(folder[WeightFiles.IndexFileName], new JsonObject { ["weight_map"] = new JsonObject(map) }.ToJsonString());
        File.WriteAllBytes(folder[HubConfig.FileName], HubConfig.ToUtf8(description));
        new ByteTokenizer().Save(folder.Path);

        using (var loaded = LoadedModel.Load(folder.Path, "cpu"))
            Assert.Equal(TinyModels.Logits(model, _tokens), TinyModels.Logits(loaded.Model, _tokens));
        File.Delete(folder[names[1]]);
        Assert.Contains(folder[names[1]], Assert.Throws<SoraException>(() => LoadedModel.Load(folder.Path, "cpu")).Message);
        File.WriteAllText(folder[WeightFiles.IndexFileName], """{"weight_map":{"a":"../../model.safetensors"}}""");
        Assert.Contains(folder[WeightFiles.IndexFileName], Assert.Throws<SoraException>(() => LoadedModel.Load(folder.Path, "cpu")).Message);
    }

    private static Dictionary<string, Tensor> RandomTensors((string Name, long[] Shape)[] tensors)
    {
        using var generator = new Generator(7);
        return tensors.ToDictionary(tensor => tensor.Name, tensor => empty(tensor.Shape).normal_(0, 0.5, generator));
    }

    private static void Write(TemporaryFolder folder, string config, Dictionary<string, Tensor> weights, string prefix)
    {
        File.WriteAllText(folder[HubConfig.FileName], config);
        SafetensorsWriter.Write(folder[HubWeights.FileName], [.. weights.Select(pair => TensorFiles.ToRaw(new NamedTensor(prefix + pair.Key, pair.Value)))]);
    }

    private static float[] LoadAndRun(TemporaryFolder folder, long[] tokens)
    {
        var description = HubConfig.Read(folder.Path);
        using var file = SafetensorsFile.Open(folder[HubWeights.FileName]);
        using var imported = HubWeights.Import(description, file);
        using var model = TinyModels.Load(description, imported.Tensors);
        return TinyModels.Logits(model, tokens);
    }

    private static void AssertClose(Tensor expected, float[] actual)
    {
        var values = expected.data<float>().ToArray();
        Assert.Equal(values.Length, actual.Length);
        Assert.All(values.Zip(actual), pair => Assert.Equal(pair.First, pair.Second, 2e-5 * Math.Max(1, Math.Abs(pair.First))));
    }

    // GPT-2 in the words of its paper and of the published weights: Conv1D layers compute x W + b.
    private static Tensor Gpt2Reference(Dictionary<string, Tensor> w, long[] tokens, int heads, int layers)
    {
        var time = tokens.Length;
        var x = w["wte.weight"].index_select(0, tensor(tokens)) + w["wpe.weight"].narrow(0, 0, time);
        for (var i = 0; i < layers; i++)
        {
            var qkv = Norm(x, $"h.{i}.ln_1").matmul(w[$"h.{i}.attn.c_attn.weight"]) + w[$"h.{i}.attn.c_attn.bias"];
            var parts = qkv.chunk(3, -1).Select(part => part.view(time, heads, -1).transpose(0, 1)).ToArray(); // [heads, time, size]
            x = x + CausalAttention(parts[0], parts[1], parts[2]).matmul(w[$"h.{i}.attn.c_proj.weight"]) + w[$"h.{i}.attn.c_proj.bias"];
            var u = Norm(x, $"h.{i}.ln_2").matmul(w[$"h.{i}.mlp.c_fc.weight"]) + w[$"h.{i}.mlp.c_fc.bias"];
            var gelu = 0.5 * u * (1 + (Math.Sqrt(2 / Math.PI) * (u + (0.044715 * u.pow(3)))).tanh());
            x = x + gelu.matmul(w[$"h.{i}.mlp.c_proj.weight"]) + w[$"h.{i}.mlp.c_proj.bias"];
        }
        return Norm(x, "ln_f").matmul(w["wte.weight"].t());

        Tensor Norm(Tensor h, string name)
        {
            var centred = h - h.mean([-1], keepdim: true);
            return centred / (centred.pow(2).mean([-1], keepdim: true) + 1e-5).sqrt() * w[name + ".weight"] + w[name + ".bias"];
        }
    }

    // Llama: RMSNorm, rotary positions on halves, grouped queries, SwiGLU.
    private static Tensor LlamaReference(Dictionary<string, Tensor> w, long[] tokens, int layers, double theta)
    {
        const int heads = 4, pairs = 2, size = 4;
        var time = tokens.Length;
        var x = w["model.embed_tokens.weight"].index_select(0, tensor(tokens));
        for (var i = 0; i < layers; i++)
        {
            var p = $"model.layers.{i}.";
            var h = Norm(x, p + "input_layernorm.weight");
            var q = Rotate(Linear(h, p + "self_attn.q_proj.weight").view(time, heads, size).transpose(0, 1));
            var k = Rotate(Linear(h, p + "self_attn.k_proj.weight").view(time, pairs, size).transpose(0, 1)).repeat_interleave(heads / pairs, 0);
            var v = Linear(h, p + "self_attn.v_proj.weight").view(time, pairs, size).transpose(0, 1).repeat_interleave(heads / pairs, 0);
            x = x + Linear(CausalAttention(q, k, v), p + "self_attn.o_proj.weight");
            h = Norm(x, p + "post_attention_layernorm.weight");
            var gate = Linear(h, p + "mlp.gate_proj.weight");
            x = x + Linear(gate * gate.sigmoid() * Linear(h, p + "mlp.up_proj.weight"), p + "mlp.down_proj.weight");
        }
        return Linear(Norm(x, "model.norm.weight"), "lm_head.weight");

        Tensor Linear(Tensor h, string name) => h.matmul(w[name].t());
        Tensor Norm(Tensor h, string name) => h / (h.pow(2).mean([-1], keepdim: true) + 1e-6).sqrt() * w[name];
        Tensor Rotate(Tensor h) // [heads, time, size]
        {
            var angle = arange(time).to(ScalarType.Float32).unsqueeze(1) * pow(theta, arange(0, size, 2).to(ScalarType.Float32) * (-1.0 / size));
            var (cosine, sine) = (cat([angle, angle], -1).cos(), cat([angle, angle], -1).sin());
            var halves = h.chunk(2, -1);
            return h * cosine + cat([-halves[1], halves[0]], -1) * sine;
        }
    }

    private static Tensor CausalAttention(Tensor q, Tensor k, Tensor v)
    {
        var time = q.shape[1];
        var scores = q.matmul(k.transpose(1, 2)) / Math.Sqrt(q.shape[2]);
        scores = scores.masked_fill(ones(time, time).tril().eq(0), float.NegativeInfinity);
        return nn.functional.softmax(scores, -1).matmul(v).transpose(0, 1).reshape(time, -1);
    }
}
