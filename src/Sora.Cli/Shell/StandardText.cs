using System.Text;

namespace Sora.Cli.Shell;

/// <summary>Text from stdin. The console's own reader replaces what is no text in silence.</summary>
internal static class StandardText
{
    /// <summary>Reads all of it; bytes that are no text become U+FFFD, with a warning.</summary>
    public static string Read()
    {
        using var input = new MemoryStream();
        using (var standard = Console.OpenStandardInput()) standard.CopyTo(input);
        var bytes = input.GetBuffer().AsSpan(0, (int)input.Length);
        var encoding = Console.InputEncoding;
        try
        {
            return Encoding.GetEncoding(encoding.CodePage, EncoderFallback.ExceptionFallback, DecoderFallback.ExceptionFallback).GetString(bytes);
        }
        catch (DecoderFallbackException e)
        {
            Warnings.Write([$"stdin is not {encoding.WebName.ToUpperInvariant()}, first at byte {e.Index + 1}: what is no text is read as U+FFFD"]);
            return encoding.GetString(bytes);
        }
    }
}
