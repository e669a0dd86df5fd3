using System.Buffers;
using Sora.Model.Tokenization;
using Sora.Protocol.Jobs;

namespace Sora.Model.Data.Preparation;

/// <summary>
/// Deals documents to the training and the held-out part and writes their shards. A document goes to one part whole, by a hash of
/// its content (of its beginning, where it is long), so equal documents go to the same part whatever lies around them.
/// </summary>
internal sealed class CorpusWriter : IDisposable
{
    private readonly string _folder;
    private readonly ITokenizer _tokenizer;
    private readonly int _tokenBytes;
    private readonly double _validationSplit;
    private readonly long _shardTokens;
    private readonly byte[] _endOfText;
    private readonly List<ShardWriter> _train = [];
    private readonly List<ShardWriter> _validation = [];
    private ShardWriter? _current; // the shard of the document under way; null between documents

    public CorpusWriter(string folder, ITokenizer tokenizer, int tokenBytes, double validationSplit, long shardTokens)
    {
        _folder = folder;
        _tokenizer = tokenizer;
        _tokenBytes = tokenBytes;
        _validationSplit = validationSplit;
        _shardTokens = shardTokens;
        _endOfText = new byte[tokenBytes];
        TokenBytes.Narrow([tokenizer.EndOfText], _endOfText, tokenBytes);
    }

    public IReadOnlyList<ShardWriter> Train => _train;

    public IReadOnlyList<ShardWriter> Validation => _validation;

    public long Documents { get; private set; }

    public long Tokens { get; private set; }

    /// <summary>Whether there was anything but white space so far.</summary>
    public bool HasText { get; private set; }

    public void Write(EncodedBatch batch)
    {
        var tokens = batch.TokenBytes;
        foreach (var part in batch.Parts)
        {
            HasText |= part.HasText;
            if (part.Tokens > 0)
            {
                _current ??= IsHeldOut(part.ContentHash) ? Open(_validation, "validation") : Open(_train, "train");
                _current.Append(tokens[..(part.Tokens * _tokenBytes)], part.TextBytes);
                tokens = tokens[(part.Tokens * _tokenBytes)..];
                Tokens += part.Tokens;
            }
            if (!part.EndsDocument || _current is null) continue; // a document without text is none

            _current.Append(_endOfText, 0);
            _current.EndDocument();
            _current = null;
            Tokens++;
            Documents++;
        }
    }

    /// <summary>
    /// Sees to it that something is held out when it was asked for: where chance held out no document the last one is, and a corpus
    /// of a single document is cut in two.
    /// </summary>
    public void Finish()
    {
        if (_validationSplit > 0 && _validation.Count == 0)
        {
            var last = _train[^1];
            var tokens = Documents > 1 ? last.LastDocumentTokens : Math.Clamp((long)Math.Round(last.Tokens * _validationSplit), 0, last.Tokens - 1);
            if (tokens > 0)
            {
                var textBytes = Documents > 1 ? last.LastDocumentTextBytes : TailTextBytes(last, tokens);
                last.MoveTail(tokens, textBytes, Open(_validation, "validation"));
            }
            if (last.Tokens == 0)
            {
                _train.Remove(last);
                last.Dispose();
                File.Delete(last.TokensPath);
                File.Delete(last.IndexPath);
            }
        }
        foreach (var shard in _train.Concat(_validation)) shard.Flush();
    }

    public void Dispose()
    {
        foreach (var shard in _train.Concat(_validation)) shard.Dispose();
    }

    // The first document is always trained on: a corpus must not end up with nothing to train on.
    private bool IsHeldOut(ulong contentHash) => Documents > 0 && (contentHash >> 11) * (1.0 / (1UL << 53)) < _validationSplit;

    private ShardWriter Open(List<ShardWriter> shards, string split)
    {
        if (shards.Count == 0 || shards[^1].Tokens >= _shardTokens)
            shards.Add(new ShardWriter(_folder, split, shards.Count, _tokenBytes));
        return shards[^1];
    }

    private long TailTextBytes(ShardWriter shard, long tokens)
    {
        var text = new ArrayBufferWriter<byte>();
        var bytes = 0L;
        var buffer = new int[1 << 16];
        for (var rest = tokens; rest > 0;)
        {
            var chunk = buffer.AsSpan(0, (int)Math.Min(rest, buffer.Length));
            shard.Read(shard.Tokens - rest, chunk);
            _tokenizer.Decode(chunk, text);
            bytes += text.WrittenCount;
            text.ResetWrittenCount();
            rest -= chunk.Length;
        }
        return bytes;
    }
}
