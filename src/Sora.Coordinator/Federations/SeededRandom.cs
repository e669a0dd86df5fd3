using System.Buffers.Binary;
using System.Security.Cryptography;

namespace Sora.Coordinator.Federations;

/// <summary>
/// Random bytes for the noise of one attempt, from a seed that is drawn once and kept in its folder: an aggregation that is done again, after
/// a crash, must not release a second model with other noise. AES-256 over a counter.
/// </summary>
internal sealed class SeededRandom : RandomNumberGenerator
{
    private const int SeedBytes = 32;
    private const int BlockBytes = 16;

    private readonly Aes _aes = Aes.Create();
    private readonly byte[] _blocks = new byte[4096];
    private UInt128 _counter;
    private int _used;

    private SeededRandom(byte[] seed)
    {
        _aes.Key = seed;
        _used = _blocks.Length;
    }

    public static SeededRandom InFolder(string folder)
    {
        var path = Path.Combine(folder, "noise.seed");
        if (!File.Exists(path))
            Keep(path, RandomNumberGenerator.GetBytes(SeedBytes));
        return new SeededRandom(File.ReadAllBytes(path));
    }

    public override void GetBytes(byte[] data) => GetBytes(data.AsSpan());

    public override void GetBytes(Span<byte> data)
    {
        while (!data.IsEmpty)
        {
            if (_used == _blocks.Length)
                Refill();
            var count = Math.Min(data.Length, _blocks.Length - _used);
            _blocks.AsSpan(_used, count).CopyTo(data);
            // What was given out tells nothing of what was before, once it is gone from here.
            _blocks.AsSpan(_used, count).Clear();
            _used += count;
            data = data[count..];
        }
    }

    protected override void Dispose(bool disposing)
    {
        if (disposing)
            _aes.Dispose();
        base.Dispose(disposing);
    }

    private static void Keep(string path, byte[] seed)
    {
        var temporary = $"{path}.{Guid.NewGuid():N}";
        var options = new FileStreamOptions { Mode = FileMode.CreateNew, Access = FileAccess.Write };
        if (!OperatingSystem.IsWindows())
            options.UnixCreateMode = UnixFileMode.UserRead | UnixFileMode.UserWrite;
        using (var file = new FileStream(temporary, options))
        {
            file.Write(seed);
            file.Flush(flushToDisk: true);
        }
        try
        {
            File.Move(temporary, path, overwrite: false);
        }
        catch (IOException) when (File.Exists(path))
        {
            File.Delete(temporary); // another process was first
        }
    }

    private void Refill()
    {
        for (var at = 0; at < _blocks.Length; at += BlockBytes)
            BinaryPrimitives.WriteUInt128BigEndian(_blocks.AsSpan(at, BlockBytes), _counter++);
        _aes.EncryptEcb(_blocks, _blocks, PaddingMode.None);
        _used = 0;
    }
}
