using Sora.Cli.Display;
using Sora.Model.Data;
using Sora.Model.Tokenization;
using Sora.Protocol.Jobs;

namespace Sora.Cli.Train;

/// <summary><c>sora train --dry-run</c>: the plan, computed without touching data or disk.</summary>
internal static class DryRun
{
    public static async Task<int> ShowAsync(LoadedJob loaded, bool json)
    {
        var job = loaded.Job;
        foreach (var warning in loaded.Warnings) Console.Error.WriteLine($"sora: warning: {warning}");
        using var corpus = await CorpusCache.FindAsync(job.Data, job.Tokenizer);
        var vocabSize = corpus?.Manifest.Tokenizer.VocabSize ?? VocabSize(job.Tokenizer);
        var size = NetworkSize.Of(job, vocabSize);
        var plan = RunPlan.Of(job, WorkerCount.Of(job), vocabSize, size.Parameters, size.FlopsPerToken, corpus?.Manifest.Train.Tokens);
        Console.Out.WriteLine(json ? RunJson.Write(plan) : plan.ToText());
        return ExitCode.Ok;
    }

    private static int VocabSize(TokenizerSettings tokenizer) =>
        tokenizer.Type == TokenizerKind.Bpe ? tokenizer.VocabSize : TokenizerFiles.Create(tokenizer, () => []).VocabSize;
}
