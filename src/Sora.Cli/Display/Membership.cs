using Sora.Protocol.Runs;

namespace Sora.Cli.Display;

/// <summary>Tells generations as what they changed.</summary>
internal sealed class Membership
{
    private const int NamesShown = 8;

    private IReadOnlyList<string> _members = [];

    /// <summary>The line for a generation; null for the first, which everybody expects.</summary>
    public string? Line(GenerationFormed formed)
    {
        var (before, now) = (_members, formed.Workers);
        _members = now;
        if (formed.Generation == 1) return null;
        string[] changes = before.Count == 0 ? [] : [.. Change("without", before.Except(now)), .. Change("with new", now.Except(before))];
        return $"generation {formed.Generation}: {Names(now)} from step {formed.FirstStep}{(changes.Length > 0 ? $" ({string.Join(", ", changes)})" : "")}";
    }

    private static IEnumerable<string> Change(string what, IEnumerable<string> workers)
    {
        var changed = workers.ToList();
        return changed.Count > 0 ? [$"{what} {Names(changed)}"] : [];
    }

    private static string Names(IReadOnlyList<string> workers) =>
        workers.Count <= NamesShown ? string.Join(", ", workers) : $"{workers.Count} workers";
}
