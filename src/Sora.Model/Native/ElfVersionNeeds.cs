using System.Buffers.Binary;
using System.Text;

namespace Sora.Model.Native;

/// <summary>
/// Reads and relaxes the symbol versions an ELF library asks for (section <c>.gnu.version_r</c>; layout: System V ABI,
/// "Symbol Versioning" of the Linux Standard Base). A version marked weak may be absent from the library it is asked of.
/// </summary>
internal static class ElfVersionNeeds
{
    private const uint SectionTypeVersionNeeds = 0x6ffffffe; // SHT_GNU_verneed
    private const ushort FlagWeak = 0x2; // VER_FLG_WEAK

    /// <summary>Marks every need of <paramref name="version"/> weak, in place.</summary>
    /// <returns>Entries that were changed.</returns>
    /// <exception cref="InvalidDataException">The bytes are no little-endian 64-bit ELF file, or a damaged one.</exception>
    public static int Relax(Span<byte> elf, string version)
    {
        var changed = 0;
        foreach (var (name, flagsAt) in Needs(elf))
        {
            var flags = BinaryPrimitives.ReadUInt16LittleEndian(elf[flagsAt..]);
            if (name != version || (flags & FlagWeak) != 0)
                continue;
            BinaryPrimitives.WriteUInt16LittleEndian(elf[flagsAt..], (ushort)(flags | FlagWeak));
            changed++;
        }
        return changed;
    }

    /// <summary>The versions asked for and the offset of each one's flags.</summary>
    public static List<(string Version, int FlagsAt)> Needs(ReadOnlySpan<byte> elf)
    {
        try
        {
            return Read(elf);
        }
        catch (Exception error) when (error is ArgumentOutOfRangeException or OverflowException)
        {
            throw new InvalidDataException("The ELF file is cut off or damaged: an offset in it points past its end.", error);
        }
    }

    private static List<(string, int)> Read(ReadOnlySpan<byte> elf)
    {
        if (elf.Length < 64 || !elf[..6].SequenceEqual<byte>([0x7f, (byte)'E', (byte)'L', (byte)'F', 2, 1]))
            throw new InvalidDataException("Not a little-endian 64-bit ELF file.");
        var sections = Offset64(elf, 0x28);
        var sectionSize = BinaryPrimitives.ReadUInt16LittleEndian(elf[0x3a..]);
        var sectionCount = BinaryPrimitives.ReadUInt16LittleEndian(elf[0x3c..]);

        var needs = new List<(string, int)>();
        for (var i = 0; i < sectionCount; i++)
        {
            var section = elf.Slice(sections + i * sectionSize, sectionSize);
            if (UInt32(section, 4) != SectionTypeVersionNeeds)
                continue;
            var names = Offset64(elf.Slice(sections + (int)UInt32(section, 0x28) * sectionSize, sectionSize), 0x18);
            var file = Offset64(section, 0x18);
            for (var files = UInt32(section, 0x2c); files > 0; files--)
            {
                var entry = checked(file + (int)UInt32(elf, file + 8));
                for (var entries = BinaryPrimitives.ReadUInt16LittleEndian(elf[(file + 2)..]); entries > 0; entries--)
                {
                    needs.Add((Text(elf, checked(names + (int)UInt32(elf, entry + 8))), entry + 4));
                    entry = checked(entry + (int)UInt32(elf, entry + 12));
                }
                file = checked(file + (int)UInt32(elf, file + 12));
            }
        }
        return needs;
    }

    private static uint UInt32(ReadOnlySpan<byte> bytes, int at) => BinaryPrimitives.ReadUInt32LittleEndian(bytes[at..]);

    private static int Offset64(ReadOnlySpan<byte> bytes, int at) => checked((int)BinaryPrimitives.ReadUInt64LittleEndian(bytes[at..]));

    private static string Text(ReadOnlySpan<byte> elf, int at) => Encoding.ASCII.GetString(elf.Slice(at, elf[at..].IndexOf((byte)0)));
}
