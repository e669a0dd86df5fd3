using System.Buffers;

namespace Sora.Model.Tokenization;

/// <summary>Collects ids in the writer's own memory and tells the writer only when a stretch is full: a word has one or two ids, and two interface calls for it would cost more than finding them.</summary>
internal ref struct TokenSink(IBufferWriter<int> writer)
{
    private const int Stretch = 4096;

    private Span<int> _span;
    private int _used;

    public void Append(scoped ReadOnlySpan<int> ids)
    {
        if (ids.Length > _span.Length - _used) Grow(ids.Length);
        if (ids.Length == 1)
            _span[_used] = ids[0];
        else
            ids.CopyTo(_span[_used..]);
        _used += ids.Length;
    }

    public void Flush()
    {
        writer.Advance(_used);
        _span = default;
        _used = 0;
    }

    private void Grow(int needed)
    {
        Flush();
        _span = writer.GetSpan(Math.Max(needed, Stretch));
    }
}
