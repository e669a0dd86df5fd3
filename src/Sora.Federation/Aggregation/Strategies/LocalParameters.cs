using Sora.Protocol.Jobs;

namespace Sora.Federation.Aggregation.Strategies;

/// <summary>A run of parameters.</summary>
/// <param name="First">The first one.</param>
/// <param name="Count">How many.</param>
public readonly record struct ParameterRange(int First, int Count);

/// <summary>
/// Personalisation: the ranges of parameters (a head, an adapter) that stay at the site. They are cut out before an update is
/// written, so they never travel, and the global model that a site takes over leaves them as they are.
/// </summary>
public sealed class LocalParameters
{
    private readonly ParameterRange[] _shared;

    /// <summary>Creates the mask.</summary>
    /// <param name="parameters">How many parameters the site's whole model has.</param>
    /// <param name="local">Which of them stay at the site; in order, not overlapping.</param>
    public LocalParameters(int parameters, IReadOnlyList<ParameterRange> local)
    {
        var shared = new List<ParameterRange>();
        var next = 0;
        foreach (var range in local)
        {
            if (range.Count < 1 || range.First < next || (long)range.First + range.Count > parameters)
                throw new SoraException($"Local parameters {range.First} to {(long)range.First + range.Count - 1} overlap others, are out of order, or lie outside the model's {parameters}.",
                    ExitCode.Usage);
            if (range.First > next)
                shared.Add(new ParameterRange(next, range.First - next));
            next = range.First + range.Count;
        }
        if (next < parameters)
            shared.Add(new ParameterRange(next, parameters - next));
        (_shared, Parameters, SharedCount) = ([.. shared], parameters, shared.Sum(range => range.Count));
        if (SharedCount == 0)
            throw new SoraException("All parameters are local, so there is nothing to learn together.", ExitCode.Usage);
    }

    /// <summary>How many parameters the whole model has.</summary>
    public int Parameters { get; }

    /// <summary>How many of them are shared: the length of updates and of the global weights.</summary>
    public int SharedCount { get; }

    /// <summary>The shared parameters of a whole model, or of a change of one.</summary>
    public float[] Shared(ReadOnlySpan<float> whole)
    {
        if (whole.Length != Parameters)
            throw new ArgumentException($"The model has {Parameters} parameters, not {whole.Length}.", nameof(whole));
        var shared = new float[SharedCount];
        var at = 0;
        foreach (var range in _shared)
        {
            whole.Slice(range.First, range.Count).CopyTo(shared.AsSpan(at));
            at += range.Count;
        }
        return shared;
    }

    /// <summary>Writes shared parameters into a site's whole model and leaves the local ones alone.</summary>
    public void TakeOver(ReadOnlySpan<float> shared, Span<float> whole)
    {
        if (whole.Length != Parameters || shared.Length != SharedCount)
            throw new ArgumentException($"The model has {Parameters} parameters, {SharedCount} of them shared; not {whole.Length} and {shared.Length}.");
        foreach (var range in _shared)
        {
            shared[..range.Count].CopyTo(whole.Slice(range.First, range.Count));
            shared = shared[range.Count..];
        }
    }
}
