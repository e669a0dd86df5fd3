namespace Sora.Model.Tokenization.PreSplit;

/// <summary>Cuts text into the words that merges never cross.</summary>
internal abstract class PreSplitter
{
    /// <summary>Where the word that starts at <paramref name="start"/> (inside the text) ends.</summary>
    public abstract int End(ReadOnlySpan<char> text, int start);

    /// <summary>Where all words end, from splitters that must see the whole text to find one; otherwise null.</summary>
    public virtual IReadOnlyList<int>? AllEnds(ReadOnlySpan<char> text) => null;

    /// <summary>All words, for tests and descriptions.</summary>
    public IReadOnlyList<string> Split(string text)
    {
        var words = new List<string>();
        var all = AllEnds(text);
        for (int start = 0, end; start < text.Length; start = end)
        {
            end = all is null ? End(text, start) : all[words.Count];
            words.Add(text[start..end]);
        }
        return words;
    }
}
