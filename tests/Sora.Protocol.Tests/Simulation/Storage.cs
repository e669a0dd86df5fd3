namespace Sora.Protocol.Tests.Simulation;

/// <summary>The folder with the checkpoints, which all workers see.</summary>
internal sealed class Storage(Simulation world)
{
    private readonly Dictionary<string, (long Step, ulong Weights)> _checkpoints = [];

    public long Newest => _checkpoints.Count == 0 ? -1 : _checkpoints.Values.Max(checkpoint => checkpoint.Step);

    public bool Full { get; set; }

    public static string PathOf(long step) => $"/output/checkpoint-{step}";

    /// <returns>Why there is none; empty: it is written.</returns>
    public string Write(long step, ulong weights)
    {
        if (Full)
            return "the disk is full";
        world.Invariants.Saved(step, weights);
        _checkpoints[PathOf(step)] = (step, weights);
        return "";
    }

    public (long Step, ulong Weights)? Read(string path) => _checkpoints.TryGetValue(path, out var checkpoint) ? checkpoint : null;
}
