namespace Sora.Model.Checkpoints;

/// <summary>
/// What one of the workers that write a checkpoint together writes of it: a pure function of the layout and how many they are.
/// </summary>
/// <param name="Layout">The files of the whole checkpoint.</param>
/// <param name="Index">This writer, from 0. The first one also hashes the weights and writes the small files.</param>
/// <param name="Count">Writers.</param>
/// <param name="Weights">Files of weights it writes.</param>
/// <param name="Optimizer">Files of the optimizer's state it writes.</param>
internal sealed record CheckpointShare(CheckpointLayout Layout, int Index, int Count, IReadOnlyList<TensorFile> Weights, IReadOnlyList<TensorFile> Optimizer)
{
    /// <summary>Whether this writer tells what the weights hash to, which takes all of them one after the other.</summary>
    public bool HashesWeights => Index == 0;

    /// <summary>The tensors of weights files this writer needs.</summary>
    public IEnumerable<HubTensor> ExportedWeights => (HashesWeights || KeepsWhole ? Layout.Weights : Weights).SelectMany(file => file.Tensors);

    /// <summary>Names of the parameters this writer needs a copy of.</summary>
    public IEnumerable<string> WeightNames => ExportedWeights.SelectMany(tensor => tensor.Parameters);

    /// <summary>Whether this writer needs the tensors of all files, to write them elsewhere too.</summary>
    public bool KeepsWhole { get; private init; }

    /// <summary>Names of the optimizer's tensors this writer needs a copy of.</summary>
    public IEnumerable<string> OptimizerNames => (KeepsWhole ? Layout.Optimizer : Optimizer).SelectMany(file => file.Tensors, (_, tensor) => tensor.Name);

    /// <summary>The share of one of a group.</summary>
    public static CheckpointShare Of(CheckpointLayout layout, SaveGroup group) => Deal(layout, group.Count)[group.Index] with { KeepsWhole = group.KeepsWhole };

    /// <summary>
    /// Deals the files. Training stands still while the copies are made, so first of all the largest copy is small: the first
    /// writer copies the weights anyway, as it hashes them, and gets less of the rest. Then the bytes written are shared, as far as
    /// that makes no copy larger than the largest.
    /// </summary>
    public static IReadOnlyList<CheckpointShare> Deal(CheckpointLayout layout, int writers)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(writers, 1);
        var (weights, optimizer) = (New<TensorFile>(), New<TensorFile>());
        var (copied, written) = (new long[writers], new long[writers]);
        copied[0] = layout.Weights.Sum(file => file.Bytes);
        foreach (var file in LargestFirst(layout.Optimizer))
        {
            var writer = IndexOfLeast(copied);
            optimizer[writer].Add(file);
            copied[writer] += file.Bytes;
            written[writer] += file.Bytes;
        }
        var largest = copied.Max();
        foreach (var file in LargestFirst(layout.Weights))
        {
            var writer = IndexOfLeast([.. written.Select((bytes, index) => index == 0 || copied[index] + file.Bytes <= largest ? bytes : long.MaxValue)]);
            weights[writer].Add(file);
            copied[writer] += writer == 0 ? 0 : file.Bytes;
            written[writer] += file.Bytes;
        }
        return [.. Enumerable.Range(0, writers).Select(writer => new CheckpointShare(layout, writer, writers, InOrder(weights[writer]), InOrder(optimizer[writer])))];

        List<T>[] New<T>() => [.. Enumerable.Range(0, writers).Select(_ => new List<T>())];

        static IEnumerable<TensorFile> LargestFirst(IEnumerable<TensorFile> files) =>
            files.OrderByDescending(file => file.Bytes).ThenBy(file => file.Name, StringComparer.Ordinal);

        static int IndexOfLeast(long[] values) => Array.IndexOf(values, values.Min());

        static IReadOnlyList<TensorFile> InOrder(IEnumerable<TensorFile> files) => [.. files.OrderBy(file => file.Name, StringComparer.Ordinal)];
    }
}
