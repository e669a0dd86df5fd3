using System.Buffers;

namespace Sora.Model.Tokenization;

/// <summary>Entries of a <c>tokenizer.json</c> that are found in the text before anything else splits it: leftmost, then longest.</summary>
internal sealed class AddedTokens
{
    private readonly (string Text, int Id)[] _longestFirst;
    private readonly SearchValues<string> _search;

    public AddedTokens(IEnumerable<(string Text, int Id)> tokens)
    {
        _longestFirst = [.. tokens.OrderByDescending(token => token.Text.Length)];
        _search = SearchValues.Create([.. _longestFirst.Select(token => token.Text)], StringComparison.Ordinal);
    }

    /// <summary>The first token in the text; false when there is none.</summary>
    public bool TryFind(ReadOnlySpan<char> text, out int index, out int length, out int id)
    {
        (length, id) = (0, 0);
        index = text.IndexOfAny(_search);
        if (index < 0) return false;
        foreach (var token in _longestFirst)
        {
            if (!text[index..].StartsWith(token.Text)) continue;
            (length, id) = (token.Text.Length, token.Id);
            return true;
        }
        return false;
    }
}
