using System.Diagnostics.CodeAnalysis;

namespace Sora.Model.Tokenization;

/// <summary>
/// The byte-to-character map of GPT-2 (Radford et al. 2019): byte-level vocabularies are stored in JSON, so each byte needs a printable
/// character. Printable Latin-1 stands for itself; the other 68 bytes get U+0100 onwards.
/// </summary>
internal static class ByteSymbols
{
    private static readonly char[] Symbols = CreateSymbols();
    private static readonly Dictionary<char, byte> Bytes = Symbols.Select((symbol, value) => (symbol, value)).ToDictionary(pair => pair.symbol, pair => (byte)pair.value);

    /// <summary>The character a byte is written as.</summary>
    public static char Symbol(byte value) => Symbols[value];

    /// <summary>Writes bytes as a vocabulary entry.</summary>
    public static string Write(ReadOnlySpan<byte> bytes)
    {
        Span<char> text = bytes.Length <= 256 ? stackalloc char[bytes.Length] : new char[bytes.Length];
        for (var i = 0; i < bytes.Length; i++)
            text[i] = Symbols[bytes[i]];
        return new string(text);
    }

    /// <summary>Reads a vocabulary entry; false when a character stands for no byte.</summary>
    public static bool TryRead(string entry, [NotNullWhen(true)] out byte[]? bytes)
    {
        bytes = new byte[entry.Length];
        for (var i = 0; i < entry.Length; i++)
        {
            if (Bytes.TryGetValue(entry[i], out bytes[i])) continue;
            bytes = null;
            return false;
        }
        return true;
    }

    private static char[] CreateSymbols()
    {
        var symbols = new char[256];
        var next = (char)256;
        for (var value = 0; value < 256; value++)
        {
            var printable = value is (>= '!' and <= '~') or (>= 0xA1 and <= 0xAC) or (>= 0xAE and <= 0xFF);
            symbols[value] = printable ? (char)value : next++;
        }
        return symbols;
    }
}
