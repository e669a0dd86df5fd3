namespace Sora.Cluster.Tests;

/// <summary>A small corpus and the job files that train on it, in a folder removed afterwards.</summary>
public sealed class TrainingFixture : IDisposable
{
    public string Folder { get; } = Directory.CreateTempSubdirectory("sora-cluster-").FullName;

    public TrainingFixture()
    {
        var random = new Random(7);
        string[] words = ["loss", "token", "worker", "gradient", "sum", "lane", "of", "the", "a", "step", "is", "commit", "and", "shard", "reads"];
        for (var document = 0; document < 40; document++)
            File.WriteAllText(
                Path.Combine(Folder, $"document-{document:00}.txt"),
                string.Join(' ', Enumerable.Range(0, 150).Select(_ => words[random.Next(words.Length)])) + ".\n");
    }

    /// <summary>Writes a job whose network is small, has dropout, and whose 4 lanes take any of 1 to 4 workers.</summary>
    public string WriteJob(string model, string extra = "")
    {
        var path = Path.Combine(Folder, $"{model}-{Guid.NewGuid():N}.yaml");
        File.WriteAllText(path, $"""
            name: {model}
            data:
              train: ["{Folder}/*.txt"]
              validation_split: 0.1
              cache_dir: {Folder}/cache
            tokenizer: byte
            model:
              type: {model}
              hidden_size: 32
              num_hidden_layers: 2
              num_attention_heads: 4
              num_key_value_heads: 2
              dropout: 0.1
            context_length: 32
            lanes: 4
            per_device_train_batch_size: 2
            gradient_accumulation_steps: 2
            max_steps: 8
            eval_steps: 4
            warmup_steps: 2
            device: cpu
            {extra}
            """);
        return path;
    }

    public string NewOutput() => Path.Combine(Folder, "output-" + Guid.NewGuid().ToString("N")[..8]);

    public void Dispose() => Directory.Delete(Folder, recursive: true);
}

/// <summary>Changes to job files.</summary>
internal static class JobFiles
{
    /// <summary>Makes the job long enough for something to happen to it, and its steps short.</summary>
    public static string LastingFor(this string job, int steps)
    {
        File.WriteAllText(job, File.ReadAllText(job).Replace("max_steps: 8", $"max_steps: {steps}").Replace("eval_steps: 4", "eval_steps: 50")
            .Replace("num_hidden_layers: 2", "num_hidden_layers: 1").Replace("gradient_accumulation_steps: 2", "gradient_accumulation_steps: 1"));
        return job;
    }

    /// <summary>Unties the table that tokens are looked up in from the one they are predicted with.</summary>
    public static string WithHeadOfItsOwn(this string job)
    {
        File.WriteAllText(job, File.ReadAllText(job).Replace("dropout: 0.1", "dropout: 0.1\n  tie_word_embeddings: false"));
        return job;
    }

    /// <summary>Gives the network 3 million weights, and a step few samples.</summary>
    public static string OfManyWeights(this string job)
    {
        File.WriteAllText(job, File.ReadAllText(job).Replace("hidden_size: 32", "hidden_size: 512").Replace("context_length: 32", "context_length: 16")
            .Replace("per_device_train_batch_size: 2", "per_device_train_batch_size: 1") + "max_eval_batches: 4\n");
        return job;
    }
}
