namespace Sora.Federation.Audit;

/// <summary>Cuts a stream into lines, byte for byte; what stands behind the last line end is told apart.</summary>
internal static class AuditLines
{
    /// <summary>The lines without their ends, and whether they have one. Memory is that of the longest line.</summary>
    public static IEnumerable<(byte[] Line, bool IsWhole)> Of(Stream stream)
    {
        var buffer = new byte[1 << 16];
        using var line = new MemoryStream();
        int read;
        while ((read = stream.Read(buffer)) > 0)
        {
            var start = 0;
            for (var end = Array.IndexOf(buffer, (byte)'\n', start, read - start); end >= 0; end = Array.IndexOf(buffer, (byte)'\n', start, read - start))
            {
                line.Write(buffer, start, end - start);
                yield return (line.ToArray(), true);
                line.SetLength(0);
                start = end + 1;
            }
            line.Write(buffer, start, read - start);
        }
        if (line.Length > 0) yield return (line.ToArray(), false);
    }
}
