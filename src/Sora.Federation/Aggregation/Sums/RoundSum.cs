using System.Runtime.InteropServices;
using System.Text;
using Sora.Federation.Aggregation.Updates;
using Sora.Protocol.Jobs;

namespace Sora.Federation.Aggregation.Sums;

/// <summary>One update on its way into a sum.</summary>
/// <param name="Update">The values.</param>
/// <param name="Weight">What it adds to the divisor of the mean.</param>
/// <param name="Factor">What its values are multiplied by: the weight, times the scale that a screen gave it.</param>
internal readonly record struct Term(SiteUpdate Update, double Weight, double Factor);

/// <summary>
/// The weighted sum of a round's updates. Updates that were folded in live in one file of 16 bytes a parameter, which also names
/// them; it is replaced whole (written beside, flushed, renamed), so a crash leaves a sum in which an update is counted once or
/// not at all. Updates not folded yet are added while the mean is read. Because the sum is exact, when what is folded does not
/// show in the result. Memory: one run of values.
/// </summary>
internal sealed class RoundSum
{
    private const string Magic = "SORASUM1";
    private readonly string _path;
    private readonly long _round;
    private readonly long _parameters;
    private readonly List<Counted> _counted = [];
    private readonly HashSet<string> _sites = new(StringComparer.Ordinal);
    private long _limbsAt;

    private RoundSum(string path, long round, long parameters) => (_path, _round, _parameters) = (path, round, parameters);

    /// <summary>The updates that are in the file, in the order they were folded.</summary>
    public IReadOnlyList<Counted> Counted => _counted;

    /// <summary>What is in the file of a site, if anything.</summary>
    public Counted? Find(string site) => _sites.Contains(site) ? _counted.First(update => update.Site == site) : null;

    /// <summary>A sum that nothing is ever folded into.</summary>
    public static RoundSum WithoutFile(long round, long parameters) => new("", round, parameters);

    /// <summary>Opens the sum, empty if there is no file yet.</summary>
    public static RoundSum Open(string path, long round, long parameters)
    {
        var sum = new RoundSum(path, round, parameters);
        if (File.Exists(path))
            sum.ReadHead();
        return sum;
    }

    /// <summary>Adds whole updates to the file. When this returns, they may be forgotten.</summary>
    public void Fold(IReadOnlyList<Term> terms)
    {
        var counted = _counted.Concat(terms.Select(CountedOf)).ToList();
        var head = Head(counted);
        var replacement = _path + ".new";
        using (var file = new FileStream(replacement, FileMode.Create, FileAccess.Write))
        {
            file.Write(head);
            var size = RunSize;
            var (high, low, values) = (new long[size], new long[size], new float[size]);
            for (var first = 0L; first < _parameters; first += size)
            {
                var count = (int)Math.Min(size, _parameters - first);
                Sum(first, terms, high.AsSpan(0, count), low.AsSpan(0, count), values.AsSpan(0, count));
                file.Write(MemoryMarshal.AsBytes(high.AsSpan(0, count)));
                file.Write(MemoryMarshal.AsBytes(low.AsSpan(0, count)));
            }
            file.Flush(flushToDisk: true);
        }
        File.Move(replacement, _path, overwrite: true);
        _counted.Clear();
        _counted.AddRange(counted);
        _sites.UnionWith(counted.Select(update => update.Site));
        _limbsAt = head.Length;
    }

    /// <summary>Everything folded and pending, run by run: <paramref name="use"/> gets the first parameter of a run and its means.</summary>
    public void Means(IReadOnlyList<Term> pending, double divisor, Action<long, Memory<double>> use)
    {
        var size = RunSize;
        var (high, low) = (new long[size], new long[size]);
        var (values, means) = (new float[size], new double[size]);
        for (var first = 0L; first < _parameters; first += size)
        {
            var count = (int)Math.Min(size, _parameters - first);
            Sum(first, pending, high.AsSpan(0, count), low.AsSpan(0, count), values.AsSpan(0, count));
            for (var i = 0; i < count; i++)
                means[i] = ExactSum.Value(high[i], low[i]) / divisor;
            use(first, means.AsMemory(0, count));
        }
    }

    /// <summary>The sum of all weights, folded and pending, in any order the same.</summary>
    public double TotalWeight(IEnumerable<Term> pending)
    {
        var (high, low) = (0L, 0L);
        foreach (var weight in _counted.Select(update => update.Weight).Concat(pending.Select(term => term.Weight)))
            ExactSum.Add(weight, ref high, ref low);
        return ExactSum.Value(high, low);
    }

    // The same whenever the file is written and read: the limbs of a run lie together in it.
    private int RunSize => (int)Math.Min(SiteUpdate.RunValues, _parameters);

    public static Counted CountedOf(Term term) => new(term.Update.Site, term.Weight, term.Factor / term.Weight,
        term.Update is SpilledUpdate spilled ? Convert.ToHexStringLower(spilled.Manifest.Hash.Span) : "");

    private void Sum(long first, IReadOnlyList<Term> terms, Span<long> high, Span<long> low, Span<float> values)
    {
        high.Clear();
        low.Clear();
        if (_limbsAt > 0)
        {
            using var file = File.OpenHandle(_path);
            var at = _limbsAt + first * 2 * sizeof(long);
            SpilledUpdate.ReadFully(file, MemoryMarshal.AsBytes(high), at);
            SpilledUpdate.ReadFully(file, MemoryMarshal.AsBytes(low), at + high.Length * sizeof(long));
        }
        foreach (var term in terms)
        {
            term.Update.Read(first, values);
            ExactSum.Add(values, term.Factor, high, low);
        }
    }

    private byte[] Head(List<Counted> counted)
    {
        var head = new MemoryStream();
        using (var writer = new BinaryWriter(head, Encoding.UTF8, leaveOpen: true))
        {
            writer.Write(Encoding.ASCII.GetBytes(Magic));
            writer.Write(_round);
            writer.Write(_parameters);
            writer.Write(counted.Count);
            foreach (var update in counted)
            {
                writer.Write(update.Site);
                writer.Write(update.Weight);
                writer.Write(update.Scale);
                writer.Write(update.Sha256);
            }
        }
        return head.ToArray();
    }

    private void ReadHead()
    {
        using var reader = new BinaryReader(File.OpenRead(_path), Encoding.UTF8);
        if (!reader.ReadBytes(Magic.Length).AsSpan().SequenceEqual(Encoding.ASCII.GetBytes(Magic)))
            throw new SoraException($"{_path} is not the sum of a round; give each round a folder of its own.", ExitCode.InvalidInput);
        var (round, parameters) = (reader.ReadInt64(), reader.ReadInt64());
        if (round != _round || parameters != _parameters)
            throw new SoraException($"{_path} is of round {round} with {parameters} parameters, not of round {_round} with {_parameters}; give each round a folder of its own.",
                ExitCode.InvalidInput);
        var count = reader.ReadInt32();
        for (var i = 0; i < count; i++)
            _counted.Add(new Counted(reader.ReadString(), reader.ReadDouble(), reader.ReadDouble(), reader.ReadString()));
        _sites.UnionWith(_counted.Select(update => update.Site));
        _limbsAt = reader.BaseStream.Position;
        if (reader.BaseStream.Length != _limbsAt + _parameters * 2 * sizeof(long))
            throw new SoraException($"{_path} is not whole; remove it and let the sites send round {_round} again.", ExitCode.InvalidInput);
    }
}
