using Sora.Protocol.Jobs;

namespace Sora.Protocol.Tests.Jobs;

public class JobValidationTests
{
    [Theory]
    [InlineData("lanes: 3\nworkers: 4", "workers", "only 3 lanes")]
    [InlineData("workers: 0", "workers", "MIN from 1 to MAX")]
    [InlineData("workers: 0:2", "workers", "MIN from 1 to MAX")]
    [InlineData("workers: 3:2", "workers", "MIN from 1 to MAX")]
    [InlineData("workers: 2:5", "workers", "only 4 lanes")]
    [InlineData("workers: 1-2", "workers", "must be a number or MIN:MAX, such as 4 or 2:4 (or null), found '1-2'")]
    [InlineData("workers: '1:2:3'", "workers", "must be a number or MIN:MAX")]
    [InlineData("max_restarts: -2", "max_restarts", "use -1 or more")]
    [InlineData("lanes: 0", "lanes", "use 1 or more")]
    [InlineData("max_steps: 0", "max_steps", "use 1 or more")]
    [InlineData("context_length: 0", "context_length", "use 1 or more")]
    [InlineData("device: gpu", "device", "use auto, cpu, cuda or cuda:N")]
    [InlineData("device: 'cuda:'", "device", "use auto, cpu, cuda or cuda:N")]
    [InlineData("name: ../x", "name", "it names a folder")]
    [InlineData("learning_rate: 0", "learning_rate", "positive")]
    [InlineData("min_learning_rate: 1", "min_learning_rate", "from 0 to learning_rate")]
    [InlineData("warmup_steps: 1.5", "warmup_steps", "whole number of steps")]
    [InlineData("warmup_steps: -1", "warmup_steps", "whole number of steps")]
    [InlineData("adam_beta2: 1", "adam_beta2", "below 1")]
    [InlineData("max_grad_norm: -1", "max_grad_norm", "0 to turn clipping off")]
    [InlineData("data: {train: [], validation_split: 0.1}", "data.train", "nothing to train on")]
    [InlineData("data: ['']", "data.train", "an entry is empty")]
    [InlineData("data: {train: x, validation_split: 1}", "data.validation_split", "below 1")]
    [InlineData("tokenizer: file", "tokenizer.path", "needs the path of a tokenizer.json")]
    [InlineData("tokenizer: {path: t.json}", "tokenizer.path", "only read with tokenizer.type: file")]
    [InlineData("tokenizer: {type: bpe, vocab_size: 256}", "tokenizer.vocab_size", "from 257")]
    [InlineData("model: {hidden_size: 100, num_attention_heads: 8}", "model.hidden_size", "the nearest is 104")]
    [InlineData("model: {hidden_size: 20, num_attention_heads: 4}", "model.hidden_size", "must be even")]
    [InlineData("model: {num_attention_heads: 4, num_key_value_heads: 3}", "model.num_key_value_heads", "divisor")]
    [InlineData("model: {max_position_embeddings: 64}", "model.max_position_embeddings", "context_length, which is 256")]
    [InlineData("model: {dropout: 1}", "model.dropout", "below 1")]
    [InlineData("model: {embedding_size: 8}", "model.embedding_size", "only for model.type: lstm")]
    [InlineData("model: {type: lstm, embedding_size: 0}", "model.embedding_size", "use 1 or more")]
    [InlineData("lora: {r: 8}", "base_model", "a trained network")]
    [InlineData("lora: {lora_alpha: 16}", "lora.r", "without a rank")]
    [InlineData("lora: {r: -1}", "lora.r", "use 0 or more")]
    [InlineData("base_model: x\nlora: {r: 8, lora_alpha: 0}", "lora.lora_alpha", "positive")]
    [InlineData("base_model: x\nlora: {r: 8, lora_dropout: 1}", "lora.lora_dropout", "below 1")]
    [InlineData("base_model: x\nlora: {r: 8, target_modules: [q_proj, '']}", "lora.target_modules", "an entry is empty")]
    [InlineData("base_model: x\nlora: 8\nmodel: lstm", "lora.r", "only model.type: decoder")]
    [InlineData("base_model: x\nbase_model_sha256: abc", "base_model_sha256", "64 hexadecimal digits")]
    public void What_cannot_work_is_refused_with_what_to_do(string yaml, string key, string advice)
    {
        if (!yaml.Contains("data:")) yaml += "\ndata: x";
        var errors = Assert.Throws<JobErrors>(() => JobLoaderTests.Load(yaml)).Errors;

        var error = Assert.Single(errors);
        Assert.Equal(key, error.Key);
        Assert.Contains(advice, error.Message);
    }

    [Theory]
    [InlineData("model: {hidden_size: 20, num_attention_heads: 4, position_embedding: learned}")]
    [InlineData("model: {type: lstm, hidden_size: 33}")]
    [InlineData("model: {num_attention_heads: 4, num_key_value_heads: 2}")]
    [InlineData("warmup_steps: 0.1")]
    [InlineData("max_grad_norm: 0")]
    [InlineData("device: cuda:7")]
    [InlineData("workers: 4\nlanes: 4")]
    [InlineData("workers: 2:4\nlanes: 4")]
    [InlineData("max_restarts: -1")]
    [InlineData("base_model: runs/quickstart\nlora: 8")]
    [InlineData("base_model: runs/quickstart\nlora: {r: 8, lora_alpha: 16, lora_dropout: 0.05, target_modules: [q_proj, v_proj], use_rslora: true}")]
    public void What_can_work_is_accepted(string yaml) => JobLoaderTests.Load(yaml + "\ndata: x");

    [Fact]
    public void A_warm_up_that_outlasts_the_run_is_a_warning() =>
        Assert.Contains("never reaches its peak", Assert.Single(JobLoaderTests.Load("data: x\nmax_steps: 10\nwarmup_steps: 11").Warnings));

    [Fact]
    public void A_value_that_could_not_be_read_is_not_also_judged()
    {
        var error = Assert.Single(Assert.Throws<JobErrors>(() => JobLoaderTests.Load("data: {train: [a, [b]]}")).Errors);

        Assert.Equal("data.train", error.Key);
    }
}
