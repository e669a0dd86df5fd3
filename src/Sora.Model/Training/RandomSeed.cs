namespace Sora.Model.Training;

/// <summary>Seeds that are a pure function of where in a run they are used, so that any worker draws the same numbers there.</summary>
internal static class RandomSeed
{
    /// <summary>Mixes the parts into one seed (SplitMix64 finalizer, Steele et al. 2014; Stafford's variant 13).</summary>
    public static long Of(params ReadOnlySpan<long> parts)
    {
        var state = 0UL;
        foreach (var part in parts)
            state = Mix(state + 0x9e3779b97f4a7c15 + (ulong)part);
        return (long)state;
    }

    private static ulong Mix(ulong value)
    {
        value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9;
        value = (value ^ (value >> 27)) * 0x94d049bb133111eb;
        return value ^ (value >> 31);
    }
}
