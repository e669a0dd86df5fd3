using System.Globalization;
using System.Text;

namespace Sora.Model.Tokenization.PreSplit;

/// <summary>What the pre-split patterns ask of a character.</summary>
[Flags]
internal enum CharacterClass : byte
{
    /// <summary>None of the below: punctuation, symbols, controls.</summary>
    Other = 0,
    /// <summary><c>\p{L}</c></summary>
    Letter = 1,
    /// <summary><c>\p{N}</c></summary>
    Number = 2,
    /// <summary><c>\s</c></summary>
    Space = 4,
    /// <summary><c>[\r\n]</c></summary>
    Newline = 8,
    /// <summary><c>[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]</c></summary>
    Upper = 16,
    /// <summary><c>[\p{Ll}\p{Lm}\p{Lo}\p{M}]</c></summary>
    Lower = 32,
    /// <summary>Half of a pair: the class is that of the whole character.</summary>
    Surrogate = 64,
}

/// <summary>
/// Finds the class of characters. Classes are those of whole code points, as in the Hugging Face and OpenAI tokenizers. A .NET regular expression sees
/// UTF-16 halves instead, so that a letter beyond U+FFFF is no letter to it (and to Microsoft.ML.Tokenizers).
/// </summary>
internal static class CharacterClasses
{
    private static readonly CharacterClass[] Table = CreateTable();

    /// <summary>The class of the code point at <paramref name="index"/>, and how many characters it takes.</summary>
    public static CharacterClass At(ReadOnlySpan<char> text, int index, out int width)
    {
        width = 1;
        var found = Table[text[index]];
        if (found != CharacterClass.Surrogate) return found;
        if (Rune.DecodeFromUtf16(text[index..], out var rune, out _) != System.Buffers.OperationStatus.Done) return CharacterClass.Other;
        width = 2;
        return Classify(Rune.GetUnicodeCategory(rune));
    }

    /// <summary>The end of the run of characters that have one of the classes.</summary>
    public static int RunOf(CharacterClass any, ReadOnlySpan<char> text, int index)
    {
        var table = Table;
        while (index < text.Length)
        {
            var found = table[text[index]];
            var width = 1;
            if (found == CharacterClass.Surrogate) found = At(text, index, out width);
            if ((found & any) == 0) break;
            index += width;
        }
        return index;
    }

    /// <summary>The end of the run of <c>[^\s\p{L}\p{N}]</c>.</summary>
    public static int RunOfOther(ReadOnlySpan<char> text, int index)
    {
        const CharacterClass Known = CharacterClass.Letter | CharacterClass.Number | CharacterClass.Space;
        while (index < text.Length && (At(text, index, out var width) & Known) == 0)
            index += width;
        return index;
    }

    private static CharacterClass[] CreateTable()
    {
        var table = new CharacterClass[char.MaxValue + 1];
        for (var c = 0; c <= char.MaxValue; c++)
        {
            var character = (char)c;
            table[c] = char.IsSurrogate(character) ? CharacterClass.Surrogate
                : character is '\r' or '\n' ? CharacterClass.Space | CharacterClass.Newline
                : char.IsWhiteSpace(character) ? CharacterClass.Space
                : Classify(CharUnicodeInfo.GetUnicodeCategory(character));
        }
        return table;
    }

    private static CharacterClass Classify(UnicodeCategory category) => category switch
    {
        UnicodeCategory.UppercaseLetter or UnicodeCategory.TitlecaseLetter => CharacterClass.Letter | CharacterClass.Upper,
        UnicodeCategory.LowercaseLetter => CharacterClass.Letter | CharacterClass.Lower,
        UnicodeCategory.ModifierLetter or UnicodeCategory.OtherLetter => CharacterClass.Letter | CharacterClass.Upper | CharacterClass.Lower,
        UnicodeCategory.NonSpacingMark or UnicodeCategory.SpacingCombiningMark or UnicodeCategory.EnclosingMark => CharacterClass.Upper | CharacterClass.Lower,
        UnicodeCategory.DecimalDigitNumber or UnicodeCategory.LetterNumber or UnicodeCategory.OtherNumber => CharacterClass.Number,
        _ => CharacterClass.Other,
    };
}
