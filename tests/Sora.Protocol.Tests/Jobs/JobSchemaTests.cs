using Sora.Protocol.Jobs;

namespace Sora.Protocol.Tests.Jobs;

public class JobSchemaTests
{
    [Fact]
    public void Names_aliases_and_paths_never_clash()
    {
        var top = JobSchema.Keys.SelectMany(key => key.Aliases.Prepend(key.Name)).ToArray();

        Assert.Equal(top.Length, top.Distinct().Count());
        Assert.Equal(JobSchema.Leaves.Count, JobSchema.Leaves.Select(key => key.Path).Distinct().Count());
        Assert.Equal(JobSchema.Leaves.Count, JobSchema.Leaves.Select(JobLoader.VariableOf).Distinct().Count());
    }

    [Fact]
    public void Shorthands_point_at_keys_that_exist() =>
        Assert.Equal(["data.train", "tokenizer.type", "model.type", "lora.r", "federated.rounds"], JobSchema.Keys.Where(key => key.IsSection).Select(key => key.Shorthand?.Path));

    [Theory]
    [InlineData("max_step", "max_steps")]
    [InlineData("learnign_rate", "learning_rate")]
    [InlineData("gradient_acumulation_step", "gradient_accumulation_steps")]
    [InlineData("zzz", null)]
    public void The_nearest_name_is_the_likely_one_or_none(string typed, string? expected) =>
        Assert.Equal(expected, NearestName.Of(typed, JobSchema.Leaves.Select(key => key.Path)));

    [Theory]
    [InlineData("abc", "abc", 0)]
    [InlineData("abc", "acb", 1)]
    [InlineData("abc", "", 3)]
    [InlineData("kitten", "sitting", 3)]
    public void Distance_counts_edits_and_swaps(string a, string b, int expected) => Assert.Equal(expected, NearestName.Distance(a, b));
}
