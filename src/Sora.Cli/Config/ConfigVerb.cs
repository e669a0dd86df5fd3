using System.CommandLine;
using System.Text.Json;
using Sora.Cli.Shell;
using Sora.Protocol.Jobs;

namespace Sora.Cli.Config;

/// <summary><c>sora config</c>: what a job file can say, and what one says.</summary>
internal static class ConfigVerb
{
    public static Command Create() => new Verb("config", "What job files can say, and what one says.") { Keys(), Show() };

    private static Verb Keys()
    {
        var json = new Option<bool>("--json") { Description = "Print one JSON object a key." };
        var verb = new Verb("keys", "List every key of a job file with its type, default and meaning.", "sora config keys", "sora config keys | grep eval") { json };
        verb.SetAction(result =>
        {
            if (result.GetValue(json))
            {
                foreach (var key in JobSchema.Leaves) Console.Out.WriteLine(ToJson(key));
                return;
            }
            var rows = JobSchema.Leaves.Select(key => (key.Path, key.TypeName, Default: DefaultOf(key), key.Description, Other: OtherSpellings(key))).ToArray();
            var (path, type, fallback) = (rows.Max(row => row.Path.Length), rows.Max(row => row.TypeName.Length), rows.Max(row => row.Default.Length));
            foreach (var row in rows)
                Console.Out.WriteLine($"{row.Path.PadRight(path)}  {row.TypeName.PadRight(type)}  {row.Default.PadRight(fallback)}  {row.Description}{row.Other}");
        });
        return verb;
    }

    private static Verb Show()
    {
        var options = new JobOptions();
        var json = new Option<bool>("--json") { Description = "Print the canonical JSON that workers get and checkpoints keep." };
        var verb = new Verb("show", "Print a job with every default filled in and where each value comes from.",
            "sora config show examples/quickstart.yaml",
            "sora config show examples/quickstart.yaml --set lanes=8 --json") { json };
        options.AddTo(verb);
        verb.SetAction(result =>
        {
            var loaded = options.Load(result);
            Warnings.Write(loaded.Warnings);
            if (result.GetValue(json)) Console.Out.WriteLine(JobJson.Write(loaded.Job, indented: true));
            else Print(loaded);
        });
        return verb;
    }

    private static void Print(LoadedJob loaded)
    {
        var width = JobSchema.Leaves.Max(key => key.Path.Length) + 2;
        foreach (var key in JobSchema.Leaves)
        {
            var value = JobKey.Spell(key.ValueIn(loaded.Job));
            var origin = loaded.Origins.TryGetValue(key.Path, out var at) ? at.ToString() : "default";
            Console.Out.WriteLine($"{(key.Path + ":").PadRight(width)}{value,-32}  # {origin}");
        }
        Console.Out.WriteLine();
        Console.Out.WriteLine($"global batch {loaded.Job.GlobalBatchSize:N0} samples, {loaded.Job.TokensPerStep:N0} tokens a step; job hash {JobHash.Of(loaded.Job)}");
    }

    private static string DefaultOf(JobKey key) => key.Default switch
    {
        null => "(derived)",
        "" => "(empty)",
        var value => JobKey.Spell(value),
    };

    private static string ToJson(JobKey key) => JsonSerializer.Serialize(new
    {
        key = key.Path,
        type = key.TypeName,
        @default = key.Default is null ? null : JobKey.Spell(key.Default),
        description = key.Description,
        aliases = key.Aliases,
    });

    private static string OtherSpellings(JobKey key) => key.Aliases.Count == 0 ? "" : $" (also {string.Join(", ", key.Aliases)})";
}
