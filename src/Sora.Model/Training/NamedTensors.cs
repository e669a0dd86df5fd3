using Sora.Protocol.Jobs;

namespace Sora.Model.Training;

/// <summary>Lists of named tensors.</summary>
internal static class NamedTensors
{
    /// <summary>Copies each tensor onto the one of the same name.</summary>
    /// <exception cref="SoraException">As for <see cref="Check"/>. Nothing is copied then.</exception>
    public static void Copy(IReadOnlyList<NamedTensor> from, IReadOnlyList<NamedTensor> to, string what)
    {
        Check(from, to, what);
        var targets = to.ToDictionary(target => target.Name, target => target.Value);
        foreach (var (name, value) in from)
            targets[name].copy_(value);
    }

    /// <summary>Checks that two lists hold the same names and shapes.</summary>
    /// <param name="from">What is given.</param>
    /// <param name="to">What is wanted; every one must be met exactly once.</param>
    /// <param name="what">What they are called in the error message.</param>
    /// <exception cref="SoraException">A name is missing, unknown or doubled, or a shape differs.</exception>
    public static void Check(IReadOnlyList<NamedTensor> from, IReadOnlyList<NamedTensor> to, string what)
    {
        var targets = to.ToDictionary(target => target.Name, target => target.Value);
        var problems = new List<string>();
        var met = new HashSet<string>();
        foreach (var (name, value) in from)
        {
            if (!targets.TryGetValue(name, out var target))
                problems.Add($"{what} {name} is not in this model");
            else if (!met.Add(name))
                problems.Add($"{what} {name} is given twice");
            else if (!target.shape.SequenceEqual(value.shape))
                problems.Add($"{what} {name} has shape [{string.Join(", ", value.shape)}], this model needs [{string.Join(", ", target.shape)}]");
        }
        problems.AddRange(targets.Keys.Where(name => !met.Contains(name)).Select(name => $"{what} {name} is missing"));
        if (problems.Count > 0)
        {
            throw new SoraException(
                $"These are not the {what}s of this model: {string.Join("; ", problems.Take(5))}{(problems.Count > 5 ? $"; and {problems.Count - 5} more" : "")}. " +
                "Use the job (model settings, tokenizer, optimizer) they were made with.",
                ExitCode.InvalidInput);
        }
    }
}
