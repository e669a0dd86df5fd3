using System.Globalization;

namespace Sora.Cluster.Tests;

/// <summary>The memory of another process, as the system shows it to who may debug that process.</summary>
internal static class ProcessMemory
{
    private const int Window = 1 << 20;

    /// <summary>Turns the lowest bit of the first byte wherever these bytes lie.</summary>
    /// <returns>At how many places.</returns>
    public static int FlipBit(int process, byte[] known)
    {
        using var memory = new FileStream($"/proc/{process}/mem", FileMode.Open, FileAccess.ReadWrite, FileShare.ReadWrite, bufferSize: 0);
        var flips = 0;
        foreach (var (start, end) in Writable(process))
        {
            foreach (var place in Find(memory, start, end, known))
            {
                memory.Position = place;
                memory.Write([(byte)(known[0] ^ 1)]);
                flips++;
            }
        }
        return flips;
    }

    private static IEnumerable<(long Start, long End)> Writable(int process) =>
        from line in File.ReadAllLines($"/proc/{process}/maps")
        let words = line.Split(' ', StringSplitOptions.RemoveEmptyEntries)
        where words[1].StartsWith("rw", StringComparison.Ordinal)
        let range = words[0].Split('-')
        let start = ulong.Parse(range[0], NumberStyles.HexNumber, CultureInfo.InvariantCulture)
        where start < long.MaxValue
        select ((long)start, (long)ulong.Parse(range[1], NumberStyles.HexNumber, CultureInfo.InvariantCulture));

    private static List<long> Find(FileStream memory, long start, long end, byte[] known)
    {
        var found = new List<long>();
        var buffer = new byte[Window + known.Length];
        for (var position = start; position < end; position += Window)
        {
            memory.Position = position;
            int count;
            try
            {
                count = memory.ReadAtLeast(buffer.AsSpan(0, (int)Math.Min(buffer.Length, end - position)), 1, throwOnEndOfStream: false);
                while (count > 0 && count < Math.Min(buffer.Length, end - position) && memory.Read(buffer, count, (int)Math.Min(buffer.Length, end - position) - count) is > 0 and var more)
                    count += more;
            }
            catch (IOException)
            {
                continue; // a page that nothing was ever written to, or of a device
            }
            // What begins behind the window is found in the next one.
            for (var at = 0; buffer.AsSpan(at, count - at).IndexOf(known) is >= 0 and var next && at + next < Window; at += next + 1)
                found.Add(position + at + next);
        }
        return found;
    }
}
