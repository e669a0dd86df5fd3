using System.Text;
using System.Text.Json;
using CsCheck;
using Sora.Protocol.Jobs;

namespace Sora.Protocol.Tests.Jobs;

public class JobJsonTests
{
    private static readonly Gen<string> Text = Gen.Char[' ', '\u04FF'].Where(letter => !char.IsControl(letter)).Array[1, 12].Select(letters => new string(letters));

    /// <summary>Any value a key can hold, valid together or not.</summary>
    private static Gen<object?> ValueOf(JobKey key)
    {
        var value = key.ValueType switch
        {
            { IsEnum: true } type => Gen.OneOfConst(Enum.GetValues(type).Cast<object?>().ToArray()),
            var type when type == typeof(int) => Gen.Int.Select(number => (object?)number),
            var type when type == typeof(long) => Gen.Long.Select(number => (object?)number),
            var type when type == typeof(double) => Gen.Double.Where(double.IsFinite).Select(number => (object?)number),
            var type when type == typeof(WorkerRange) => Gen.Select(Gen.Int, Gen.Int, Gen.Bool, (least, most, isCount) => (object?)(isCount ? WorkerRange.Of(most) : WorkerRange.Between(least, most))),
            var type when type == typeof(bool) => Gen.Bool.Select(flag => (object?)flag),
            var type when type == typeof(string) => Text.Select(text => (object?)text),
            _ => Text.Array[0, 3].Select(texts => (object?)texts),
        };
        return key.IsOptional ? Gen.Frequency((1, Gen.Const((object?)null)), (3, value)) : value;
    }

    private static readonly Gen<Dictionary<string, object?>> Values = JobSchema.Leaves
        .Select(key => ValueOf(key).Select(value => (key.Path, value)))
        .Aggregate(Gen.Const(Array.Empty<(string, object?)>()), (all, one) => all.SelectMany(list => one.Select(item => list.Append(item).ToArray())))
        .Select(pairs => pairs.ToDictionary(pair => pair.Item1, pair => pair.Item2));

    [Fact]
    public void Any_job_survives_json_exactly() => Values.Sample(values =>
    {
        var json = JobJson.Write(JobSchema.Build(values));
        var back = JobJson.Parse(json);
        Assert.Equal(json, JobJson.Write(back));
        Assert.All(JobSchema.Leaves, key => Assert.Equal(values[key.Path], key.ValueIn(back)));
    }, iter: 200);

    [Fact]
    public void Any_job_survives_yaml_exactly() => Values.Sample(values =>
    {
        var binder = new JobBinder();
        var yaml = ToYaml(values);
        binder.BindFile(JobText.Parse(yaml, "job.yaml"), "job.yaml");
        Assert.Empty(binder.Errors);
        Assert.Equal(JobJson.Write(JobSchema.Build(values)), JobJson.Write(JobSchema.Build(binder.Values)));
    }, iter: 200);

    [Fact]
    public void Json_lists_every_key_in_the_schema_order()
    {
        using var document = JsonDocument.Parse(JobJson.Write(new TrainingJob()));
        var names = document.RootElement.EnumerateObject().Select(member => member.Name);

        Assert.Equal(JobSchema.Keys.Select(key => key.Name), names);
        Assert.Equal(JobSchema.Keys.Single(key => key.Name == "model").Children.Select(key => key.Name),
            document.RootElement.GetProperty("model").EnumerateObject().Select(member => member.Name));
    }

    [Fact]
    public void A_job_of_a_newer_version_is_refused_and_one_of_an_older_version_gets_defaults()
    {
        var error = Assert.Throws<SoraException>(() => JobJson.Parse("""{"warp_factor": 9}"""));

        Assert.Contains("warp_factor", error.Message);
        Assert.Equal(7, JobJson.Parse("""{"max_steps": 7}""").MaxSteps);
        Assert.Equal(ExitCode.InvalidInput, Assert.Throws<SoraException>(() => JobJson.Parse("{")).ExitCode);
        Assert.Throws<SoraException>(() => JobJson.Parse("""{"max_steps": "7"}"""));
        Assert.Throws<SoraException>(() => JobJson.Parse("""{"optim": "3"}"""));
        Assert.Throws<SoraException>(() => JobJson.Parse("[]"));
    }

    [Fact]
    public void The_hash_follows_the_keys_that_decide_the_weights_and_no_others()
    {
        var job = new TrainingJob();
        string Hash(TrainingJob other) => JobHash.Of(other);

        Assert.NotEqual(Hash(job), Hash(job with { Seed = 1 }));
        Assert.NotEqual(Hash(job), Hash(job with { Lanes = 8 }));
        Assert.NotEqual(Hash(job), Hash(job with { Model = job.Model with { Dropout = 0.1 } }));
        Assert.Equal(Hash(job), Hash(job with { Workers = WorkerRange.Of(3), MaxRestarts = 1, OutputDir = "x", SaveSteps = 5, EvalSteps = 2, Name = "other" }));
        Assert.Equal(Hash(job), Hash(job with { Data = job.Data with { Train = ["elsewhere"] } }));
    }

    [Fact]
    public void Differences_name_the_key_and_both_values()
    {
        var job = new TrainingJob();
        var differences = JobDifference.Between(job, job with { LearningRate = 0.5, Model = job.Model with { NumKeyValueHeads = 2 } });

        Assert.Equal(["model.num_key_value_heads: null -> 2", "learning_rate: 0.001 -> 0.5"], differences.Select(d => d.ToString()));
    }

    [Fact]
    public void A_step_sees_lanes_times_micro_batches_times_their_size()
    {
        var job = new TrainingJob { Lanes = 3, MicroBatchesPerLane = 5, MicroBatchSize = 7, ContextLength = 11 };

        Assert.Equal((105L, 1155L), (job.GlobalBatchSize, job.TokensPerStep));
    }

    private static string ToYaml(Dictionary<string, object?> values)
    {
        var yaml = new StringBuilder();
        Add(JobSchema.Keys, "");
        return yaml.ToString();

        void Add(IReadOnlyList<JobKey> keys, string indentation)
        {
            foreach (var key in keys)
            {
                yaml.Append(indentation).Append(key.Name).Append(": ").AppendLine(key.IsSection ? "" : Scalar(values[key.Path]));
                if (key.IsSection) Add(key.Children, indentation + "  ");
            }
        }
    }

    private static string Scalar(object? value) => value switch
    {
        string text => $"'{text.Replace("'", "''")}'",
        string[] list => $"[{string.Join(", ", list.Select(Scalar))}]",
        double number => number.ToString("R", System.Globalization.CultureInfo.InvariantCulture),
        _ => JobKey.Spell(value),
    };
}
