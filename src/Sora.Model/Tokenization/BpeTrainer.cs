using System.Runtime.InteropServices;
using Sora.Protocol.Jobs;

namespace Sora.Model.Tokenization;

/// <summary>What training of a vocabulary may use.</summary>
public sealed record BpeTrainerOptions
{
    /// <summary>Entries wanted: 256 bytes, the merges, and end of text. Fewer come out when the text has no more pairs that occur twice.</summary>
    public int VocabSize { get; init; } = 4096;

    /// <summary>Characters of text the pairs are counted in; of more text, an even sample is used.</summary>
    public int SampleCharacters { get; init; } = 32_000_000;

    /// <summary>Characters read to draw the sample from; what follows is not looked at.</summary>
    public long ScannedCharacters { get; init; } = 4_000_000_000;
}

/// <summary>
/// Trains a byte-level BPE vocabulary. The result is a pure function of the documents and the options: each time the pair that occurs most often
/// merges, and among equals the one with the smaller left id, then the smaller right id.
/// </summary>
public static class BpeTrainer
{
    private const int ByteCount = 256;
    private const long LeastCount = 2;

    /// <summary>Trains on documents, which are read once.</summary>
    /// <exception cref="SoraException">The size is too small, or there is no text.</exception>
    public static ITokenizer Train(IEnumerable<string> documents, BpeTrainerOptions options, CancellationToken cancellationToken = default)
    {
        if (options.VocabSize <= ByteCount)
            throw new SoraException(
                $"tokenizer.vocab_size is {options.VocabSize}; a byte-level vocabulary needs at least {ByteCount + 1} (the bytes and end of text). Set it to 257 or more.",
                ExitCode.Usage);
        var words = WordCounter.Count(TextSample.Draw(documents, options.SampleCharacters, options.ScannedCharacters, cancellationToken));
        if (words.Count == 0)
            throw new SoraException("The documents hold no text to train a tokenizer on. Check the corpus, or use a tokenizer that needs no training (byte, o200k).", ExitCode.InvalidInput);
        var vocabulary = new MergeLearner(words).Learn(options.VocabSize - 1, LeastCount, cancellationToken);
        return TokenizerJsonReader.Read(TokenizerJsonWriter.Write(vocabulary), "the trained tokenizer");
    }

    /// <summary>Merges pairs in counted words. Counts of pairs, and which words hold them, are kept up to date merge by merge.</summary>
    private sealed class MergeLearner
    {
        private readonly List<(string Entry, int Id)> _vocab = [];
        private readonly List<(string Left, string Right)> _merges = [];
        private readonly Dictionary<string, int> _ids = new(StringComparer.Ordinal);
        private readonly int[][] _words;
        private readonly int[] _lengths;
        private readonly long[] _wordCounts;
        private readonly Dictionary<(int Left, int Right), long> _pairCounts = [];
        private readonly Dictionary<(int Left, int Right), List<int>> _pairWords = [];

        // Holds each pair with a count it once had. A pair whose count fell since is put back with the one it has now.
        private readonly PriorityQueue<(int Left, int Right), (long MinusCount, int Left, int Right)> _queue = new();

        public MergeLearner(IReadOnlyList<(byte[] Word, long Count)> words)
        {
            for (var value = 0; value < ByteCount; value++)
                Add(ByteSymbols.Symbol((byte)value).ToString());
            _words = new int[words.Count][];
            _lengths = new int[words.Count];
            _wordCounts = new long[words.Count];
            for (var i = 0; i < words.Count; i++)
            {
                _words[i] = Array.ConvertAll(words[i].Word, value => (int)value);
                _lengths[i] = _words[i].Length;
                _wordCounts[i] = words[i].Count;
                for (var at = 0; at + 1 < _lengths[i]; at++)
                    Increase((_words[i][at], _words[i][at + 1]), i);
            }
            foreach (var (pair, count) in _pairCounts)
                Enqueue(pair, count);
        }

        public TokenizerJson Learn(int entries, long leastCount, CancellationToken cancellationToken)
        {
            while (_vocab.Count < entries && TryTakeMostFrequent(leastCount, out var pair))
            {
                cancellationToken.ThrowIfCancellationRequested();
                Merge(pair);
            }
            return new TokenizerJson("bpe", _vocab, _merges, [(TokenizerJson.EndOfTextToken, _vocab.Count)]);
        }

        private int Add(string entry)
        {
            // Two ways to the same bytes ("a" + "bc", "ab" + "c") are two merges and one entry.
            if (_ids.TryGetValue(entry, out var known)) return known;
            var id = _vocab.Count;
            _vocab.Add((entry, id));
            _ids.Add(entry, id);
            return id;
        }

        private bool TryTakeMostFrequent(long leastCount, out (int Left, int Right) pair)
        {
            while (_queue.TryDequeue(out pair, out var priority))
            {
                if (!_pairCounts.TryGetValue(pair, out var count) || count < leastCount) continue;
                if (count == -priority.MinusCount) return true;
                if (count < -priority.MinusCount) Enqueue(pair, count); // a count that rose was put in when it did
            }
            return false;
        }

        private void Merge((int Left, int Right) pair)
        {
            var merged = Add(_vocab[pair.Left].Entry + _vocab[pair.Right].Entry);
            _merges.Add((_vocab[pair.Left].Entry, _vocab[pair.Right].Entry));
            var risen = new HashSet<(int, int)>();
            foreach (var word in _pairWords[pair])
                MergeInWord(word, pair, merged, risen);
            _pairCounts.Remove(pair);
            _pairWords.Remove(pair);
            foreach (var changed in risen)
            {
                if (_pairCounts.TryGetValue(changed, out var count)) Enqueue(changed, count);
            }
        }

        private void MergeInWord(int word, (int Left, int Right) pair, int merged, HashSet<(int, int)> risen)
        {
            var symbols = _words[word];
            var length = _lengths[word];
            var kept = 0;
            for (var at = 0; at < length; at++)
            {
                if (symbols[at] != pair.Left || at + 1 >= length || symbols[at + 1] != pair.Right)
                {
                    symbols[kept++] = symbols[at];
                    continue;
                }
                if (kept > 0)
                {
                    var before = symbols[kept - 1];
                    Decrease((before, pair.Left), word);
                    Increase((before, merged), word);
                    risen.Add((before, merged));
                }
                if (at + 2 < length)
                {
                    var after = symbols[at + 2];
                    Decrease((pair.Right, after), word);
                    Increase((merged, after), word);
                    risen.Add((merged, after));
                }
                symbols[kept++] = merged;
                at++;
            }
            _lengths[word] = kept;
        }

        private void Increase((int Left, int Right) pair, int word)
        {
            CollectionsMarshal.GetValueRefOrAddDefault(_pairCounts, pair, out _) += _wordCounts[word];
            ref var holders = ref CollectionsMarshal.GetValueRefOrAddDefault(_pairWords, pair, out _);
            holders ??= [];
            if (holders.Count == 0 || holders[^1] != word) holders.Add(word);
        }

        private void Decrease((int Left, int Right) pair, int word)
        {
            ref var count = ref CollectionsMarshal.GetValueRefOrNullRef(_pairCounts, pair);
            if (!System.Runtime.CompilerServices.Unsafe.IsNullRef(ref count)) count -= _wordCounts[word];
        }

        private void Enqueue((int Left, int Right) pair, long count) => _queue.Enqueue(pair, (-count, pair.Left, pair.Right));
    }
}
