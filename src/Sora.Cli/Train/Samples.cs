using Sora.Cli.Display;
using Sora.Model.Checkpoints;
using Sora.Model.Inference;
using Sora.Protocol.Jobs;
using Sora.Protocol.Runs;

namespace Sora.Cli.Train;

/// <summary>What the trained network makes of the job's prompts: the first thing anybody wants to see.</summary>
internal static class Samples
{
    private static readonly GenerationOptions Options = new() { MaxNewTokens = 60, Temperature = 0.7, TopP = 0.95 };

    /// <summary>Generates from the newest checkpoint and shows it.</summary>
    public static void Show(TrainingJob job, IRunDisplay display)
    {
        if (job.SamplePrompts.Count == 0) return;
        using var loaded = LoadedModel.Load(job.OutputDir, job.Device);
        foreach (var warning in loaded.Warnings) display.Show(new RunWarning(warning));
        var generator = new TextGenerator(loaded);
        foreach (var prompt in job.SamplePrompts)
            display.Show(new TextSampled(prompt, string.Concat(generator.Generate(prompt, Options with { Seed = job.Seed }))));
    }
}
