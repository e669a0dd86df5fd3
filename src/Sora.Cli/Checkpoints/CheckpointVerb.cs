using System.CommandLine;
using System.Globalization;
using System.Text.Json;
using Sora.Cli.Display;
using Sora.Cli.Shell;
using Sora.Model.Checkpoints;
using Sora.Model.Checkpoints.Adapters;
using Sora.Model.Checkpoints.Storage;
using Sora.Protocol.Jobs;

namespace Sora.Cli.Checkpoints;

/// <summary><c>sora checkpoint</c>: what a run left behind, and whether it is sound.</summary>
internal static class CheckpointVerb
{
    public static Command Create() => new Verb("checkpoint", "List, show, verify and merge checkpoints.") { List(), Show(), Verify(), Merge() };

    private static Verb List()
    {
        var (folder, json) = (RunFolder(), Json());
        var verb = new Verb("list", "List the checkpoints of a run; one with a missing or shortened file is marked. 'verify' also reads every byte.", "sora checkpoint list runs/quickstart") { folder, json };
        verb.SetAction(result =>
        {
            foreach (var checkpoint in Of(result.GetRequiredValue(folder)))
                Console.Out.WriteLine(result.GetValue(json) ? ToJson(checkpoint) : ToText(checkpoint));
        });
        return verb;
    }

    private static Verb Show()
    {
        var (path, json) = (CheckpointOrRun(), Json());
        var verb = new Verb("show", "Print what a checkpoint is.", "sora checkpoint show runs/quickstart", "sora checkpoint show runs/quickstart/checkpoints/step-00000100 --json") { path, json };
        verb.SetAction(result =>
        {
            var checkpoint = Newest(result.GetRequiredValue(path));
            if (result.GetValue(json)) Console.Out.WriteLine(ToJson(checkpoint));
            else Print(checkpoint);
        });
        return verb;
    }

    private static Verb Verify()
    {
        var (path, json) = (CheckpointOrRun(), Json());
        var verb = new Verb("verify", "Read every byte of a checkpoint, or of all of a run, and compare it with its manifest.", "sora checkpoint verify runs/quickstart") { path, json };
        verb.SetAction(result =>
        {
            var given = result.GetRequiredValue(path);
            var paths = IsCheckpoint(given) ? [given] : Of(given).Select(checkpoint => checkpoint.Path).ToArray();
            var damaged = 0;
            foreach (var one in paths)
            {
                var problems = Problems(one);
                if (problems.Count > 0) damaged++;
                if (result.GetValue(json)) Console.Out.WriteLine(JsonSerializer.Serialize(new { path = one, sound = problems.Count == 0, problems }));
                else if (problems.Count == 0) Console.Out.WriteLine($"{one}: sound");
                foreach (var problem in problems) Console.Error.WriteLine($"sora: {problem}");
            }
            return damaged > 0 ? ExitCode.InvalidInput : ExitCode.Ok;
        });
        return verb;
    }

    private static Verb Merge()
    {
        var adapter = new Argument<string>("adapters") { Description = "A checkpoint of adapters (LoRA), the output folder of a run that has one, or a folder as PEFT writes it." };
        var output = new Option<string>("--output") { Description = "Folder for the merged checkpoint; it must hold none.", HelpName = "DIR", Required = true };
        var baseModel = new Option<string?>("--base-model") { Description = "Where the network lies that the adapters belong to, if not where it lay when they were trained.", HelpName = "DIR" };
        var json = Json();
        var verb = new Verb("merge", "Make one network out of adapters and the network they belong to.", "sora checkpoint merge runs/tuned --output runs/tuned-merged") { adapter, output, baseModel, json };
        verb.SetAction(result =>
        {
            var merged = AdapterMerge.Merge(result.GetRequiredValue(adapter), result.GetRequiredValue(output), result.GetValue(baseModel));
            Console.Out.WriteLine(result.GetValue(json)
                ? JsonSerializer.Serialize(new { path = merged.Path, step = merged.Step, weights_sha256 = merged.WeightsSha256 })
                : $"{merged.Path}\nweights: {merged.WeightsSha256}");
        });
        return verb;
    }

    private static Argument<string> RunFolder() => new("output") { Description = "A run's output folder, or s3://BUCKET/PREFIX." };

    private static Argument<string> CheckpointOrRun() => new("checkpoint") { Description = "A checkpoint, a run's output folder, or either of them as s3://BUCKET/PREFIX." };

    private static Option<bool> Json() => new("--json") { Description = "Print one JSON object a checkpoint." };

    private static IReadOnlyList<CheckpointSummary> Of(string output) =>
        List(output) is { Count: > 0 } checkpoints
            ? checkpoints
            : throw new SoraException($"There is no checkpoint in {(S3Location.Is(output) ? output : CheckpointCatalog.FolderOf(output))}. Name a run's output folder, for example runs/quickstart.", ExitCode.InvalidInput);

    private static IReadOnlyList<CheckpointSummary> List(string output)
    {
        if (!S3Location.Is(output)) return CheckpointCatalog.List(output);
        using var bucket = CheckpointBucket.Open(S3Location.Parse(output));
        return bucket.List();
    }

    private static bool IsCheckpoint(string path) =>
        S3Location.Is(path) ? S3Location.Parse(path).AsCheckpoint() is not null : File.Exists(Path.Combine(path, CheckpointManifest.FileName));

    private static CheckpointSummary Newest(string path)
    {
        if (!IsCheckpoint(path)) path = Of(path)[^1].Path;
        if (!S3Location.Is(path))
        {
            var checkpoint = CheckpointFolder.Open(path);
            return new CheckpointSummary(checkpoint.Path, checkpoint.Manifest.Step, checkpoint.Manifest, null);
        }
        var (run, step) = S3Location.Parse(path).AsCheckpoint()!.Value;
        using var bucket = CheckpointBucket.Open(run);
        return new CheckpointSummary(path, step, bucket.Manifest(step), null);
    }

    private static IReadOnlyList<string> Problems(string path)
    {
        if (!S3Location.Is(path)) return CheckpointFolder.Verify(path);
        var (run, step) = S3Location.Parse(path).AsCheckpoint()!.Value;
        using var bucket = CheckpointBucket.Open(run);
        return bucket.Verify(step);
    }

    private static string ToText(CheckpointSummary checkpoint) => string.Create(CultureInfo.InvariantCulture,
        $"step {checkpoint.Step,-9} {(checkpoint.Manifest is { } manifest ? $"{Format.Bytes(SizeOf(manifest)),-10} {manifest.WeightsSha256[..12]}" : new string(' ', 23))}  {checkpoint.Path}{(checkpoint.Problem is null ? "" : $"  DAMAGED: {checkpoint.Problem}")}");

    private static string ToJson(CheckpointSummary checkpoint) => JsonSerializer.Serialize(new
    {
        path = checkpoint.Path,
        step = checkpoint.Step,
        bytes = checkpoint.Manifest is { } manifest ? SizeOf(manifest) : (long?)null,
        tokens_seen = checkpoint.Manifest?.TokensSeen,
        weights_sha256 = checkpoint.Manifest?.WeightsSha256,
        job_sha256 = checkpoint.Manifest?.JobSha256,
        corpus_sha256 = checkpoint.Manifest?.CorpusSha256,
        canary = checkpoint.Manifest?.Canary,
        numerics = checkpoint.Manifest?.Numerics,
        problem = checkpoint.Problem,
    });

    private static void Print(CheckpointSummary checkpoint)
    {
        var manifest = checkpoint.Manifest!;
        var job = S3Location.Is(checkpoint.Path) ? null : CheckpointFolder.Open(checkpoint.Path).Job;
        void Line(string what, string value) => Console.Out.WriteLine($"{what,-12}{value}");
        Line("checkpoint", checkpoint.Path);
        Line("job", job is null ? manifest.JobSha256 : $"{job.Name} ({manifest.JobSha256})");
        Line("step", string.Create(CultureInfo.InvariantCulture, $"{manifest.Step:N0}{(job is null ? "" : $" of {job.MaxSteps:N0}")}, {manifest.TokensSeen:N0} tokens seen"));
        Line("weights", manifest.WeightsSha256);
        Line("corpus", manifest.CorpusSha256);
        Line("numerics", $"{manifest.Numerics}; canary {manifest.Canary}");
        foreach (var file in manifest.Files) Line("file", $"{Format.Bytes(file.Bytes),-10} {file.Sha256[..12]}  {file.Name}");
    }

    private static long SizeOf(CheckpointManifest manifest) => manifest.Files.Sum(file => file.Bytes);
}
