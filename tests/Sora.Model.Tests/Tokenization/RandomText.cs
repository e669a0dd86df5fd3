using System.Text;
using CsCheck;

namespace Sora.Model.Tests.Tokenization;

/// <summary>Random valid strings that dwell on what tokenizers get wrong.</summary>
internal static class RandomText
{
    private static readonly string[] Awkward =
    [
        "", " ", "  ", "\t", "\n", "\r\n", "\r", "\u0085", "\u00A0", "\u2003", "\u3000", "\0", "\u001F", "\u200D", "\uFEFF", "\uFFFD", "\uFFFF",
        "'s", "'S", "'re", "'LL", "'ve", "'d", "'", "''", "\u017F", "'\u017F", "\u2019s", "don't", "I'VE", "/", "//", "_", "__init__", "=>", "...",
        "0", "12", "1234567", "\u0663", "\u00BD", "\u216B", "\u4E09", "\u4E2D\u6587", "\u8BAD\u7EC3\u6A21\u578B", "\u65E5\u672C\u8A9E\u30C6\u30AD\u30B9\u30C8",
        "\uD55C\uAE00", "e\u0301", "\u0301", "\u0928\u093F", "\u01C5", "\u02B0", "ABC", "Abc", "aBC", "camelCase", "HTTPServer", "\u00DF", "\u0130",
        "\U0001F600", "\U0001F468\u200D\U0001F469\u200D\U0001F467", "\U00020000\U0002A6D6", "\U0001D400\U0001D41A", "\U00010400\U00010428", "\U0001D7D8",
        "\U000E0001", "\U0010FFFF", "<|endoftext|>", "<|endofprompt|>", "<s>", "</s>", "<0x41>", "\u2581", "\u2581\u2581a", "\u0120",
    ];

    /// <summary>Any Unicode scalar value.</summary>
    public static readonly Gen<string> Scalar = Gen.OneOf(
        Gen.Int[0, 0x7F], Gen.Int[0x80, 0x7FF], Gen.Int[0x800, 0xD7FF], Gen.Int[0xE000, 0xFFFF], Gen.Int[0x10000, 0x10FFFF])
        .Select(value => new Rune(value).ToString());

    /// <summary>Text of ASCII words, awkward pieces and random scalars.</summary>
    public static readonly Gen<string> Any = Gen.OneOf(
        Gen.OneOfConst(Awkward), Gen.String[Gen.Char[' ', '~'], 0, 12], Gen.OneOfConst(" ", " ", "\n", "a", "the", " model", "'"), Scalar)
        .Array[0, 24].Select(string.Concat);

    /// <summary>The same within U+0000 to U+FFFF: a .NET regular expression sees the halves of a surrogate pair, not its class.</summary>
    public static readonly Gen<string> BasicPlane = Any.Select(text => string.Concat(text.EnumerateRunes().Where(rune => rune.IsBmp)));
}
