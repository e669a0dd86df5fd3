using System.Buffers.Binary;
using System.Text;
using Sora.Model.Native;

namespace Sora.Model.Tests.Native;

public class ElfVersionNeedsTests
{
    [Fact]
    public void Relax_MarksTheNamedVersionWeak_AndNothingElse()
    {
        var elf = Elf("GLIBCXX_3.4.21", "GLIBCXX_3.4.32");
        var before = elf.ToArray();

        Assert.Equal(1, ElfVersionNeeds.Relax(elf, "GLIBCXX_3.4.32"));

        var changed = Enumerable.Range(0, elf.Length).Where(i => elf[i] != before[i]).ToArray();
        var at = ElfVersionNeeds.Needs(before).Single(need => need.Version == "GLIBCXX_3.4.32").FlagsAt;
        Assert.Equal([at], changed);
        Assert.Equal(2, elf[at]);
    }

    [Fact]
    public void Relax_Twice_ChangesNothingMore()
    {
        var elf = Elf("GLIBCXX_3.4.32");
        ElfVersionNeeds.Relax(elf, "GLIBCXX_3.4.32");

        Assert.Equal(0, ElfVersionNeeds.Relax(elf, "GLIBCXX_3.4.32"));
    }

    [Fact]
    public void Relax_VersionNotAskedFor_ChangesNothing() => Assert.Equal(0, ElfVersionNeeds.Relax(Elf("GLIBCXX_3.4.21"), "GLIBCXX_3.4.32"));

    [Fact]
    public void Needs_ListsVersionsInOrder() =>
        Assert.Equal(["A_1", "B_2", "C_3"], ElfVersionNeeds.Needs(Elf("A_1", "B_2", "C_3")).Select(need => need.Version));

    [Fact]
    public void Needs_NotElf_IsRefused() => Assert.Throws<InvalidDataException>(() => ElfVersionNeeds.Needs(new byte[100]));

    [Fact]
    public void Needs_CutOffAnywhere_IsRefusedOrEmpty()
    {
        var elf = Elf("GLIBCXX_3.4.21", "GLIBCXX_3.4.32");
        for (var length = 0; length < elf.Length; length++)
            Assert.Throws<InvalidDataException>(() => ElfVersionNeeds.Needs(elf.AsSpan(0, length)));
    }

    [Fact]
    public void WriteMendedCopy_LeavesTheOriginalAlone_AndIsRepeatable()
    {
        var folder = Directory.CreateTempSubdirectory("sora-native-").FullName;
        try
        {
            var original = Path.Combine(folder, "libLibTorchSharp.so");
            File.WriteAllBytes(original, Elf("GLIBCXX_3.4.32"));

            var copies = Enumerable.Range(0, 8).AsParallel().Select(_ => TorchSharpLibrary.WriteMendedCopy(original)).Distinct().ToArray();

            var copy = Assert.Single(copies);
            Assert.Equal(Elf("GLIBCXX_3.4.32"), File.ReadAllBytes(original));
            Assert.Equal(1, File.ReadAllBytes(copy).Zip(File.ReadAllBytes(original)).Count(pair => pair.First != pair.Second));
            Assert.Equal(2, Directory.GetFiles(folder).Length); // no temporary file is left
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    // The smallest file the reader accepts: header, one verneed with its vernaux entries, names, then two section headers
    // (0: the names, 1: the needs), so that every prefix of it lacks something.
    private static byte[] Elf(params string[] versions)
    {
        const int Needs = 64;
        var names = Needs + 16 + 16 * versions.Length;
        var text = string.Concat(versions.Select(version => version + "\0"));
        var sections = names + text.Length;
        var elf = new byte[sections + 2 * 64];

        byte[] magic = [0x7f, (byte)'E', (byte)'L', (byte)'F', 2, 1, 1];
        magic.CopyTo(elf, 0);
        BinaryPrimitives.WriteUInt64LittleEndian(elf.AsSpan(0x28), (ulong)sections);
        BinaryPrimitives.WriteUInt16LittleEndian(elf.AsSpan(0x3a), 64);
        BinaryPrimitives.WriteUInt16LittleEndian(elf.AsSpan(0x3c), 2);

        Write16(Needs, 1);
        Write16(Needs + 2, versions.Length);
        Write32(Needs + 8, 16);
        var name = 0;
        for (var i = 0; i < versions.Length; i++)
        {
            var entry = Needs + 16 + 16 * i;
            Write32(entry + 8, name);
            Write32(entry + 12, i == versions.Length - 1 ? 0 : 16);
            name += versions[i].Length + 1;
        }
        Encoding.ASCII.GetBytes(text).CopyTo(elf, names);

        BinaryPrimitives.WriteUInt64LittleEndian(elf.AsSpan(sections + 0x18), (ulong)names);
        BinaryPrimitives.WriteUInt32LittleEndian(elf.AsSpan(sections + 64 + 4), 0x6ffffffe);
        BinaryPrimitives.WriteUInt64LittleEndian(elf.AsSpan(sections + 64 + 0x18), Needs);
        Write32(sections + 64 + 0x28, 0);
        Write32(sections + 64 + 0x2c, 1);
        return elf;

        void Write16(int at, int value) => BinaryPrimitives.WriteUInt16LittleEndian(elf.AsSpan(at), (ushort)value);
        void Write32(int at, int value) => BinaryPrimitives.WriteInt32LittleEndian(elf.AsSpan(at), value);
    }
}
