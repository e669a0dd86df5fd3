using System.Buffers;
using System.Diagnostics.CodeAnalysis;
using System.Globalization;
using System.Text;

namespace Sora.Model.Tokenization;

/// <summary>
/// Unicode normalization form C (Unicode Standard Annex 15). <see cref="string.Normalize()"/> does nothing where globalization is invariant, as it is
/// here so that no ICU has to be installed; so the tables (<c>canonical-composition.txt</c>) are our own.
/// </summary>
internal sealed class CanonicalComposition : TextNormalizer
{
    // Hangul syllables are composed by formula (Unicode 3.12): leading consonant, vowel, trailing consonant.
    private const int SyllableBase = 0xAC00, LeadBase = 0x1100, VowelBase = 0x1161, TrailBase = 0x11A7;
    private const int Leads = 19, Vowels = 21, Trails = 28;

    private static readonly Lazy<Tables> Data = new(Tables.Load);

    /// <inheritdoc/>
    public override bool TryNormalize(ReadOnlySpan<char> text, bool isStart, [NotNullWhen(true)] out string? normalized)
    {
        normalized = null;
        // Below U+0300 everything is composed already, which is all there is in most text.
        if (text.IndexOfAnyExceptInRange('\0', '\u02FF') < 0 || text.IndexOfAny(Data.Value.Suspects) < 0) return false;
        var points = new List<int>(text.Length);
        foreach (var rune in text.EnumerateRunes())
            Decompose(rune.Value, points);
        Order(points);
        normalized = Compose(points);
        return true;
    }

    private static void Decompose(int point, List<int> points)
    {
        var syllable = point - SyllableBase;
        if (syllable is >= 0 and < Leads * Vowels * Trails)
        {
            points.Add(LeadBase + syllable / (Vowels * Trails));
            points.Add(VowelBase + syllable / Trails % Vowels);
            if (syllable % Trails > 0) points.Add(TrailBase + syllable % Trails);
        }
        else if (Data.Value.Decompositions.TryGetValue(point, out var parts))
        {
            foreach (var part in parts)
                Decompose(part, points);
        }
        else
        {
            points.Add(point);
        }
    }

    // Marks after a starter stand in the order of their classes; marks of one class keep theirs.
    private static void Order(List<int> points)
    {
        for (var i = 1; i < points.Count; i++)
        {
            var point = points[i];
            var combining = Data.Value.Class(point);
            if (combining == 0) continue;
            var at = i;
            for (; at > 0 && Data.Value.Class(points[at - 1]) > combining; at--)
                points[at] = points[at - 1];
            points[at] = point;
        }
    }

    private static string Compose(List<int> points)
    {
        var composed = new List<int>(points.Count);
        var starter = -1; // where the last character of class 0 is
        var lastClass = 0;
        foreach (var point in points)
        {
            var combining = Data.Value.Class(point);
            // A mark is blocked when another of its class or above, or a starter, stands between it and the starter.
            var isNext = starter == composed.Count - 1;
            if (starter >= 0 && (isNext || (lastClass < combining && lastClass != 0)) && Pair(composed[starter], point) is { } pair)
            {
                composed[starter] = pair;
                continue;
            }
            if (combining == 0) starter = composed.Count;
            lastClass = combining;
            composed.Add(point);
        }
        var text = new StringBuilder(composed.Count);
        foreach (var point in composed)
            text.Append(new Rune(point).ToString());
        return text.ToString();
    }

    private static int? Pair(int first, int second)
    {
        if (first - LeadBase is >= 0 and < Leads && second - VowelBase is >= 0 and < Vowels)
            return SyllableBase + ((first - LeadBase) * Vowels + (second - VowelBase)) * Trails;
        var syllable = first - SyllableBase;
        if (syllable is >= 0 and < Leads * Vowels * Trails && syllable % Trails == 0 && second - TrailBase is > 0 and < Trails) return first + second - TrailBase;
        return Data.Value.Compositions.TryGetValue((first, second), out var composed) ? composed : null;
    }

    private sealed record Tables(Dictionary<int, int[]> Decompositions, Dictionary<(int, int), int> Compositions, Dictionary<int, byte> Classes, SearchValues<char> Suspects)
    {
        public int Class(int point) => Classes.GetValueOrDefault(point);

        public static Tables Load()
        {
            var decompositions = new Dictionary<int, int[]>();
            var compositions = new Dictionary<(int, int), int>();
            var classes = new Dictionary<int, byte>();
            using var stream = typeof(CanonicalComposition).Assembly.GetManifestResourceStream("canonical-composition.txt")!;
            using var reader = new StreamReader(stream);
            while (reader.ReadLine() is { } line)
            {
                if (line.Split(':') is [var range, var number] && line[0] != '#')
                {
                    var ends = Array.ConvertAll(range.Split('-'), Point);
                    for (var point = ends[0]; point <= ends[1]; point++)
                        classes.Add(point, byte.Parse(number, CultureInfo.InvariantCulture));
                }
                else if (line.Split('=', '>') is [var composed, var parts] && line[0] != '#')
                {
                    var split = Array.ConvertAll(parts.Split(' '), Point);
                    decompositions.Add(Point(composed), split);
                    if (line.Contains('=')) compositions.Add((split[0], split[1]), Point(composed));
                }
            }
            return new Tables(decompositions, compositions, classes, FindSuspects(decompositions, compositions, classes));
        }

        // Text without any of these is composed: marks, what composes with something before it, and what decomposes for good.
        private static SearchValues<char> FindSuspects(Dictionary<int, int[]> decompositions, Dictionary<(int First, int Second), int> compositions, Dictionary<int, byte> classes)
        {
            var composed = compositions.Values.ToHashSet();
            var points = classes.Keys.Concat(decompositions.Keys.Where(point => !composed.Contains(point))).Concat(compositions.Keys.Select(pair => pair.Second))
                .Concat(Enumerable.Range(VowelBase, Vowels)).Concat(Enumerable.Range(TrailBase + 1, Trails - 1));
            return SearchValues.Create([.. points.Select(point => new Rune(point).ToString()[0]).Distinct()]);
        }

        private static int Point(string hex) => int.Parse(hex, NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture);
    }
}
