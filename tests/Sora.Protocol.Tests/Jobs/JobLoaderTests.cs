using Sora.Protocol.Jobs;

namespace Sora.Protocol.Tests.Jobs;

public class JobLoaderTests
{
    private const string Minimal = "data: dotnet-docs\n";

    internal static LoadedJob Load(string yaml, JobOverrides? overrides = null) => JobLoader.LoadText(yaml, "job.yaml", overrides ?? new());

    private static string[] ErrorsOf(string yaml, JobOverrides? overrides = null) =>
        Assert.Throws<JobErrors>(() => Load(yaml, overrides)).Errors.Select(error => error.ToString()).ToArray();

    [Fact]
    public void A_job_with_only_data_gets_every_default_and_the_name_of_its_file()
    {
        var job = Load(Minimal).Job;

        Assert.Equal(["dotnet-docs"], job.Data.Train);
        Assert.Equal(new TrainingJob().MaxSteps, job.MaxSteps);
        Assert.Equal("job", job.Name);
    }

    [Fact]
    public void Sections_kebab_case_aliases_and_shorthands_are_understood()
    {
        var job = Load("""
            data: [a.txt, "b dir/*.jsonl"]
            tokenizer: byte
            model: {type: lstm, hidden-size: 128}
            lr: 3e-4
            micro_batch_size: 2
            Max-Steps: 10_000
            optim: AdamW
            """).Job;

        Assert.Equal(["a.txt", "b dir/*.jsonl"], job.Data.Train);
        Assert.Equal(TokenizerKind.Byte, job.Tokenizer.Type);
        Assert.Equal((ModelKind.Lstm, 128), (job.Model.Type, job.Model.HiddenSize));
        Assert.Equal((3e-4, 2, 10_000, OptimizerKind.AdamW), (job.LearningRate, job.MicroBatchSize, job.MaxSteps, job.Optim));
    }

    [Fact]
    public void File_is_overridden_by_environment_by_set_by_flag()
    {
        var environment = new Dictionary<string, string> { ["SORA_SEED"] = "2", ["SORA_LANES"] = "12", ["SORA_MODEL__HIDDEN_SIZE"] = "64", ["SORA_MAX_STEPS"] = "2" };
        var loaded = Load(Minimal + "seed: 1\nmax_steps: 1\nlanes: 1\ncontext_length: 99", new JobOverrides
        {
            Environment = environment,
            Set = ["max_steps=3", "model.num-hidden-layers=7", "lanes=13"],
            Flags = [("--max-steps", "max_steps", ["4"]), ("--data", "data.train", ["[a]", "b"])],
        });

        var job = loaded.Job;
        Assert.Equal((2, 13, 64, 4, 7, 99), (job.Seed, job.Lanes, job.Model.HiddenSize, job.MaxSteps, job.Model.NumHiddenLayers, job.ContextLength));
        Assert.Equal(["[a]", "b"], job.Data.Train);
        Assert.Equal("environment variable SORA_SEED", loaded.Origins["seed"].ToString());
        Assert.Equal("--max-steps", loaded.Origins["max_steps"].ToString());
        Assert.Equal("job.yaml:5:17", loaded.Origins["context_length"].ToString());
    }

    [Fact]
    public void Set_takes_lists_sections_and_text_with_yaml_characters()
    {
        var job = Load("", new JobOverrides
        {
            Set = ["data=[a.txt, b.txt]", "model={type: lstm, hidden_size: 32}", "output_dir=C:\\runs: #1", "sample_prompts=Say: hello"],
        }).Job;

        Assert.Equal(["a.txt", "b.txt"], job.Data.Train);
        Assert.Equal(32, job.Model.HiddenSize);
        Assert.Equal("C:\\runs: #1", job.OutputDir);
        Assert.Equal(["Say: hello"], job.SamplePrompts);
    }

    [Fact]
    public void All_errors_come_together_in_the_order_of_the_file_with_their_place()
    {
        var errors = ErrorsOf("""
            data: dotnet-docs
            max_step: 10
            dtype: fp16
            model:
              hiden_size: 64
              dropout: 1.5
            seed: many
            workers: 9
            """);

        Assert.Collection(errors,
            e => Assert.Equal("job.yaml:2:1: unknown key 'max_step'; did you mean 'max_steps'?", e),
            e => Assert.Equal("job.yaml:3:8: 'dtype' must be one of fp32, bf16, found 'fp16'.", e),
            e => Assert.Equal("job.yaml:5:3: unknown key 'model.hiden_size'; did you mean 'model.hidden_size'?", e),
            e => Assert.Equal("job.yaml:6:12: 'model.dropout' is 1.5: use a number from 0 to below 1.", e),
            e => Assert.Equal("job.yaml:7:7: 'seed' must be a whole number, found 'many'.", e),
            e => Assert.StartsWith("job.yaml:8:10: 'workers' is 9: there are only 4 lanes", e));
    }

    [Theory]
    [InlineData("hidden_size: 64", "did you mean 'model.hidden_size'?")]
    [InlineData("model: {context_length: 64}", "did you mean 'context_length'?")]
    [InlineData("something_else_entirely: 1", "'sora config keys' lists them all")]
    [InlineData("max_steps:", "found nothing")]
    [InlineData("max_steps: 1.5", "a whole number")]
    [InlineData("max_steps: 99999999999", "up to 2147483647")]
    [InlineData("max_steps: [1]", "found a list")]
    [InlineData("learning_rate: .nan", "must be a number")]
    [InlineData("learning_rate: 1e999", "must be a number")]
    [InlineData("model:", "'model' has no value")]
    [InlineData("max_steps: 1\nmax-steps: 2", "given twice")]
    [InlineData("lr: 1\nlearning_rate: 2", "given twice")]
    [InlineData("max_steps: 1\nmax_steps: 2", "not valid YAML")]
    [InlineData("a: [1", "not valid YAML")]
    [InlineData("a: b: c", "not valid YAML")]
    [InlineData("data: [t\ntokenizer: byte\n x: : y", "not valid YAML")]
    [InlineData("- 1", "this is a list")]
    [InlineData("just words", "this is 'just words'")]
    [InlineData("a: 1\n---\nb: 2", "several YAML documents")]
    [InlineData("[1, 2]: 3", "a key must be a word")]
    [InlineData("data: {train: [a, [b]]}", "a text or a list of texts")]
    [InlineData("data: {train: {x: y}}", "a text or a list of texts")]
    public void Bad_input_is_named(string yaml, string expected) =>
        Assert.Contains(ErrorsOf(yaml), error => error.Contains(expected) && error.StartsWith("job.yaml"));

    [Theory]
    [InlineData("max_step=1", "--set max_step=1: unknown key 'max_step'; did you mean 'max_steps'?")]
    [InlineData("model.hiden_size=1", "did you mean 'model.hidden_size'?")]
    [InlineData("max_steps", "--set max_steps: write key=value")]
    [InlineData("max_steps=", "found nothing")]
    [InlineData("workers=", "found nothing")] // though it may be null
    [InlineData("max_steps.x=1", "'max_steps' has no keys below it")]
    [InlineData("model={type", "not valid YAML")]
    public void Bad_set_is_named(string assignment, string expected) =>
        Assert.Contains(ErrorsOf(Minimal, new JobOverrides { Set = [assignment] }), error => error.Contains(expected) && error.StartsWith("--set"));

    [Theory]
    [InlineData("data: x\nmodel:\n\thidden_size: 3", "job.yaml:3:1: this line is indented with a tab")]
    [InlineData("data: x\nmodel:\n  dropout: 0\n\thidden_size: 3", "job.yaml:4:1: this line is indented with a tab")]
    [InlineData("data: \"x\n\ty\"\nmodel:\n\thidden_size: 3", "job.yaml:4:1: this line is indented with a tab")]
    [InlineData("data: x\nname: *run", "job.yaml:2:7: the alias '*run' has no anchor '&run' above it")]
    [InlineData("data: x\ntab: 1\ntab: 2", "job.yaml:3:1: this is not valid YAML: Duplicate key tab")]
    [InlineData("data: ~", "job.yaml:1:7: 'data' has no value")]
    public void A_slip_is_told_once_and_where_it_is(string yaml, string expected) => Assert.StartsWith(expected, Assert.Single(ErrorsOf(yaml)));

    [Fact]
    public void An_empty_variable_counts_as_not_set()
    {
        var environment = new Dictionary<string, string> { ["SORA_SEED"] = "", ["SORA_MAX_STEP"] = "" };
        var loaded = Load(Minimal + "seed: 7", new JobOverrides { Environment = environment });

        Assert.Equal((7, 0), (loaded.Job.Seed, loaded.Warnings.Count));
    }

    [Fact]
    public void Paths_of_a_file_are_relative_to_its_folder_and_others_to_the_working_directory()
    {
        var folder = Directory.CreateTempSubdirectory("sora-job-");
        try
        {
            var path = Path.Combine(folder.FullName, "job.yaml");
            File.WriteAllText(path, """
                data: {train: [text.txt, ../up/*.txt, dotnet-docs, "dotnet-docs:System.Linq", ./dotnet-docs, "https://example.org/a.txt", /abs/b.txt], cache_dir: cache}
                tokenizer: {type: file, path: tok/tokenizer.json}
                output_dir: out
                """);
            var here = Environment.CurrentDirectory;
            var ofFile = JobLoader.Load(path, new()).Job;
            var ofFlags = JobLoader.Load(path, new JobOverrides
            {
                Environment = new Dictionary<string, string> { ["SORA_TOKENIZER__PATH"] = "t.json" },
                Set = ["data.cache_dir=c"],
                Flags = [("--data", "data.train", ["text.txt"])],
            }).Job;

            string[] expected =
            [
                Path.Combine(folder.FullName, "text.txt"), Path.GetFullPath(Path.Combine(folder.FullName, "../up/*.txt")), "dotnet-docs", "dotnet-docs:System.Linq",
                Path.Combine(folder.FullName, "dotnet-docs"), "https://example.org/a.txt", Path.GetFullPath("/abs/b.txt"),
            ];
            Assert.Equal(expected, ofFile.Data.Train);
            Assert.Equal((Path.Combine(folder.FullName, "cache"), Path.Combine(folder.FullName, "tok", "tokenizer.json"), "out"),
                (ofFile.Data.CacheDir, ofFile.Tokenizer.Path, ofFile.OutputDir));
            Assert.Equal([Path.Combine(here, "text.txt")], ofFlags.Data.Train);
            Assert.Equal((Path.Combine(here, "c"), Path.Combine(here, "t.json")), (ofFlags.Data.CacheDir, ofFlags.Tokenizer.Path));
            Assert.Equal(JobHash.Of(ofFile), JobHash.Of(ofFlags)); // where text lies is no part of what a job computes
        }
        finally
        {
            folder.Delete(recursive: true);
        }
    }

    [Fact]
    public void A_misspelled_variable_is_a_warning_and_a_foreign_one_is_nothing()
    {
        var environment = new Dictionary<string, string> { ["SORA_MAX_STEP"] = "1", ["SORA_SERVICE_PORT_HTTP"] = "80", ["SORA_LIBTORCH"] = "/opt" };
        var warnings = Load(Minimal, new JobOverrides { Environment = environment }).Warnings;

        Assert.Equal(["environment variable SORA_MAX_STEP is not a job key and is ignored; did you mean SORA_MAX_STEPS?"], warnings);
    }

    [Fact]
    public void A_missing_file_a_folder_and_a_file_that_is_not_text_are_told_apart()
    {
        var folder = Directory.CreateTempSubdirectory("sora-job-");
        try
        {
            var path = Path.Combine(folder.FullName, "quickstart.yaml");
            File.WriteAllBytes(path, [(byte)'a', 0xFF, 0xFE]);

            string MessageOf(string file) => Assert.Throws<JobErrors>(() => JobLoader.Load(file, new())).Message;
            Assert.Contains("is not UTF-8 text (byte 1)", MessageOf(path));
            Assert.Contains("Did you mean 'quickstart.yaml'?", MessageOf(Path.Combine(folder.FullName, "quickstrat.yaml")));
            Assert.Contains("is a folder", MessageOf(folder.FullName));
        }
        finally
        {
            folder.Delete(recursive: true);
        }
    }

    [Fact]
    public void Errors_are_usage_errors() =>
        Assert.Equal(ExitCode.Usage, Assert.Throws<JobErrors>(() => Load("nonsense: 1")).ExitCode);
}
