namespace Sora.Federation.Aggregation.Strategies;

/// <summary>
/// What a server does with the aggregated update of a round. All of these rules work on each parameter by itself, so they are
/// given runs of parameters, in double precision, and change weights and state in place; both are kept in single precision.
/// The update of a site is its local weights minus the global ones it began with (minus the paper's "pseudo-gradient").
/// </summary>
public abstract record ServerOptimizer
{
    /// <summary>How many vectors of the model's length an update consists of, one behind the other.</summary>
    public virtual int UpdateVectors => 1;

    /// <summary>How many state vectors the rule needs.</summary>
    public virtual int StateVectors => 0;

    /// <summary>What a state vector holds before the first round.</summary>
    public virtual float InitialState(int vector) => 0;

    /// <summary>Applies the aggregated update to a run of parameters.</summary>
    /// <param name="part">Which of the <see cref="UpdateVectors"/> the values belong to.</param>
    /// <param name="delta">The aggregated values of the run.</param>
    /// <param name="weights">The global weights of the run.</param>
    /// <param name="state">The state of the run.</param>
    /// <param name="sites">How many updates were aggregated.</param>
    public abstract void Step(int part, ReadOnlySpan<double> delta, Span<float> weights, StateRun state, int sites);

    /// <summary>The model before the first round.</summary>
    public ServerModel Begin(float[] weights)
    {
        var state = new float[StateVectors][];
        for (var i = 0; i < state.Length; i++)
            Array.Fill(state[i] = new float[weights.Length], InitialState(i));
        return new ServerModel(0, weights, state);
    }
}

/// <summary>A run of every state vector.</summary>
public readonly ref struct StateRun
{
    private readonly float[][] _vectors;
    private readonly int _first;
    private readonly int _count;

    internal StateRun(float[][] vectors, int first, int count) => (_vectors, _first, _count) = (vectors, first, count);

    /// <summary>The run of one vector.</summary>
    public Span<float> this[int vector] => _vectors[vector].AsSpan(_first, _count);
}
