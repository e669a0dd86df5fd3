using System.Text.RegularExpressions;

namespace Sora.Protocol.Jobs;

/// <summary>What must hold between the values of a job. Pure: looks at nothing but the job, and gathers every violation.</summary>
public static partial class JobValidation
{
    /// <summary>Everything wrong with a job; empty when it is fine.</summary>
    /// <param name="job">The job.</param>
    /// <param name="origins">Where its values were written, to point there.</param>
    public static IReadOnlyList<JobError> Check(TrainingJob job, IReadOnlyDictionary<string, JobOrigin>? origins = null)
    {
        var check = new Checker(job, origins ?? new Dictionary<string, JobOrigin>());
        CheckRun(check, job);
        CheckBatches(check, job);
        CheckOptimizer(check, job);
        CheckData(check, job.Data, job.Tokenizer, job.Federated.IsOn);
        CheckModel(check, job.Model, job);
        CheckLora(check, job.Lora, job);
        return check.Errors;
    }

    /// <summary>Whether a text can name a job, a folder or a site.</summary>
    public static bool IsName(string name) => NamePattern().IsMatch(name);

    private static void CheckRun(Checker check, TrainingJob job)
    {
        check.That("name", IsName(job.Name), "use letters, digits, '-', '_' and '.', starting with a letter or digit: it names a folder");
        check.That("device", DevicePattern().IsMatch(job.Device), "use auto, cpu, cuda or cuda:N");
        check.AtLeast("threads_per_worker", job.ThreadsPerWorker, 1);
        check.AtLeast("logging_steps", job.LoggingSteps, 1);
        check.AtLeast("eval_steps", job.EvalSteps, 0);
        check.AtLeast("max_eval_batches", job.MaxEvalBatches, 0);
        check.AtLeast("save_steps", job.SaveSteps, 0);
        check.AtLeast("save_total_limit", job.SaveTotalLimit, 0);
        check.That("save_to", job.SaveTo.Length == 0 || BucketPattern().IsMatch(job.SaveTo), "use s3://BUCKET/PREFIX, or leave it empty to keep checkpoints in the output folder");
        check.That("max_shard_size", ByteSize.Parse(job.MaxShardSize) is not null, "use a size above 0, for example 5GB, 500MB or 1000000");
        check.AtLeast("verify_steps", job.VerifySteps, 0);
        check.That("straggler_factor", job.StragglerFactor > 1, "use a number above 1, for example 1.5");
        check.That("straggler_seconds", job.StragglerSeconds >= 0, "use 0 or more");
        check.That("ddp_timeout", job.DdpTimeout is > 0 and <= 1_000_000, "use a positive number of seconds, at most 1000000");
    }

    private static void CheckBatches(Checker check, TrainingJob job)
    {
        check.AtLeast("max_steps", job.MaxSteps, 1);
        check.AtLeast("context_length", job.ContextLength, 1);
        check.AtLeast("lanes", job.Lanes, 1);
        check.AtLeast("per_device_train_batch_size", job.MicroBatchSize, 1);
        check.AtLeast("gradient_accumulation_steps", job.MicroBatchesPerLane, 1);
        if (job.Workers is { } workers) CheckWorkers(check, workers, job.Lanes);
        check.AtLeast("max_restarts", job.MaxRestarts ?? -1, -1);
    }

    private static void CheckWorkers(Checker check, WorkerRange workers, int lanes)
    {
        var isSound = workers is { Least: >= 1, Start: >= 1 } && workers.Least <= workers.Most;
        check.That("workers", isSound, "use N or MIN:MAX, with MIN from 1 to MAX");
        check.That("workers", !isSound || lanes < 1 || workers.Most <= lanes,
            $"there are only {lanes} lanes and a worker needs at least one: use at most {lanes} workers, or set lanes to {workers.Most} or more (which is another training result)");
    }

    private static void CheckOptimizer(Checker check, TrainingJob job)
    {
        check.That("learning_rate", job.LearningRate > 0, "use a positive number, for example 1e-3");
        check.That("min_learning_rate", job.MinLearningRate >= 0 && (job.MinLearningRate <= job.LearningRate || job.LearningRate <= 0),
            $"use a number from 0 to learning_rate, which is {JobKey.Spell(job.LearningRate)}");
        check.That("warmup_steps", job.WarmupSteps is >= 0 and < 1 || (job.WarmupSteps >= 1 && job.WarmupSteps == Math.Floor(job.WarmupSteps)),
            "use a whole number of steps, or a number below 1 for a share of max_steps");
        check.That("weight_decay", job.WeightDecay >= 0, "use 0 or more");
        check.Share("adam_beta1", job.AdamBeta1);
        check.Share("adam_beta2", job.AdamBeta2);
        check.That("adam_epsilon", job.AdamEpsilon > 0, "use a small positive number, for example 1e-8");
        check.Share("momentum", job.Momentum);
        check.Share("adadelta_rho", job.AdadeltaRho);
        check.That("max_grad_norm", job.MaxGradNorm >= 0, "use a positive number, or 0 to turn clipping off");
    }

    private static void CheckData(Checker check, DataSettings data, TokenizerSettings tokenizer, bool isFederated)
    {
        check.That("data.train", data.Train.Count > 0 || isFederated, "there is nothing to train on: name files, folders, URLs or 'dotnet-docs' here or with --data");
        check.That("data.train", data.Train.All(input => !string.IsNullOrWhiteSpace(input)), "an entry is empty; remove it");
        check.That("data.text_field", data.TextField.Length > 0, "name the field that holds the text");
        check.Share("data.validation_split", data.ValidationSplit);
        check.That("data.block_cache_bytes", data.BlockCacheBytes > 0, "use a positive number of bytes");

        var isFile = tokenizer.Type == TokenizerKind.File;
        check.That("tokenizer.path", !isFile || tokenizer.Path.Length > 0, "tokenizer.type: file needs the path of a tokenizer.json here");
        check.That("tokenizer.path", isFile || tokenizer.Path.Length == 0, "it is only read with tokenizer.type: file; set that, or leave the path out");
        // 256 bytes and the end-of-text mark come before the first merge.
        check.That("tokenizer.vocab_size", tokenizer.Type != TokenizerKind.Bpe || tokenizer.VocabSize is >= 257 and <= 1_000_000,
            "a byte-level BPE has from 257 to 1000000 entries");
    }

    private static void CheckModel(Checker check, ModelSettings model, TrainingJob job)
    {
        check.AtLeast("model.hidden_size", model.HiddenSize, 1);
        check.AtLeast("model.num_hidden_layers", model.NumHiddenLayers, 1);
        check.Share("model.dropout", model.Dropout);
        check.That("model.initializer_range", model.InitializerRange > 0, "use a small positive number, for example 0.02");
        if (model.MaxPositionEmbeddings is { } positions)
            check.That("model.max_position_embeddings", positions >= job.ContextLength, $"it must hold context_length, which is {job.ContextLength}");
        if (model.Type == ModelKind.Decoder) CheckDecoder(check, model);
        else CheckLstm(check, model);
    }

    private static void CheckDecoder(Checker check, ModelSettings model)
    {
        var heads = model.NumAttentionHeads;
        check.AtLeast("model.num_attention_heads", heads, 1);
        if (model.NumKeyValueHeads is { } shared)
            check.That("model.num_key_value_heads", shared >= 1 && (heads < 1 || heads % shared == 0), $"use a divisor of num_attention_heads, which is {heads}");
        if (model.IntermediateSize is { } width) check.AtLeast("model.intermediate_size", width, 1);
        check.That("model.rope_theta", model.RopeTheta > 0, "use a positive number, for example 10000");
        check.That("model.norm_eps", model.NormEps > 0, "use a small positive number, for example 1e-5");
        check.That("model.embedding_size", model.EmbeddingSize is null, "it is only for model.type: lstm; leave it out");
        if (heads < 1 || model.HiddenSize < 1) return;
        check.That("model.hidden_size", model.HiddenSize % heads == 0,
            $"it must be a multiple of num_attention_heads, which is {heads}; the nearest is {Math.Max(1, (model.HiddenSize + heads / 2) / heads) * heads}");
        check.That("model.hidden_size", model.PositionEmbedding != PositionKind.Rope || model.HiddenSize % heads != 0 || model.HiddenSize / heads % 2 == 0,
            $"rotary positions turn pairs, so hidden_size / num_attention_heads must be even, and it is {model.HiddenSize / heads}; change one of them or use position_embedding: learned");
    }

    private static void CheckLstm(Checker check, ModelSettings model)
    {
        if (model.EmbeddingSize is { } width) check.AtLeast("model.embedding_size", width, 1);
    }

    private static void CheckLora(Checker check, LoraSettings lora, TrainingJob job)
    {
        var none = new LoraSettings();
        var isDefault = (lora.LoraAlpha, lora.LoraDropout, lora.UseRslora, lora.TargetModules.Count) == (none.LoraAlpha, none.LoraDropout, none.UseRslora, 0);
        check.AtLeast("lora.r", lora.R, 0);
        check.That("lora.r", lora.R != 0 || isDefault, "without a rank there are no adapters; set it, for example to 8, or leave the other lora keys out");
        check.That("lora.lora_alpha", lora.LoraAlpha > 0, "use a positive number, for example 16");
        check.Share("lora.lora_dropout", lora.LoraDropout);
        check.That("lora.target_modules", lora.TargetModules.All(name => !string.IsNullOrWhiteSpace(name)), "an entry is empty; remove it");
        check.That("base_model", !lora.IsOn || job.BaseModel.Length > 0, "adapters are added to a trained network; name a checkpoint, the output folder of a run or a Hugging Face folder");
        check.That("lora.r", !lora.IsOn || job.Model.Type == ModelKind.Decoder, "only model.type: decoder can have adapters; leave lora out to train all weights");
        check.That("base_model_sha256", job.BaseModelSha256.Length == 0 || HashPattern().IsMatch(job.BaseModelSha256), "it is 64 hexadecimal digits; leave it out to have it filled in");
        check.That("base_model_sha256", job.BaseModelSha256.Length == 0 || job.BaseModel.Length > 0, "it is the identity of base_model, which is empty; leave both out or give both");
    }

    /// <summary>Gathers errors with the value and its place, so that a rule says only what it wants.</summary>
    private sealed class Checker(TrainingJob job, IReadOnlyDictionary<string, JobOrigin> origins)
    {
        public List<JobError> Errors { get; } = [];

        public void That(string path, bool holds, string advice)
        {
            if (holds) return;
            var value = JobKey.Spell(JobSchema.Leaf(path).ValueIn(job));
            JobOrigin? origin = origins.TryGetValue(path, out var at) ? at : null;
            Errors.Add(new JobError(path, origin, $"'{path}' is {(value is "" or "[]" ? "empty" : value)}: {advice}."));
        }

        public void AtLeast(string path, long value, long least) => That(path, value >= least, $"use {least} or more");

        public void Share(string path, double value) => That(path, value is >= 0 and < 1, "use a number from 0 to below 1");
    }

    [GeneratedRegex(@"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}\z")]
    private static partial Regex NamePattern();

    [GeneratedRegex(@"^(auto|cpu|cuda(:[0-9]{1,3})?)\z")]
    private static partial Regex DevicePattern();

    [GeneratedRegex(@"^[0-9a-f]{64}\z")]
    private static partial Regex HashPattern();

    [GeneratedRegex(@"^s3://[a-z0-9][a-z0-9.-]{1,62}(/.*)?\z")]
    private static partial Regex BucketPattern();
}
