using Microsoft.Win32.SafeHandles;
using Sora.Model.Checkpoints;

namespace Sora.Model.Tests.Checkpoints;

/// <summary>The machine is gone: nothing reaches the disk any more, neither writes nor what would tidy up.</summary>
internal sealed class PowerLost : Exception;

/// <summary>
/// A disk that fails at its n-th operation, in the middle of it where that can be. Either the machine loses power, and with it
/// whatever was not flushed, or the disk is full, and stays so. Nothing is really flushed, which would take most of the time.
/// </summary>
internal sealed class FailingDisk(int failsAt, bool powerLoss, bool canExchange = true) : Disk
{
    private readonly Dictionary<SafeFileHandle, string> _unflushed = [];
    private bool _failed;

    /// <summary>One that never fails.</summary>
    public static FailingDisk Never => new(int.MaxValue, powerLoss: false);

    /// <summary>Operations so far.</summary>
    public int Operations { get; private set; }

    public override SafeFileHandle Create(string path, long size)
    {
        Next(frees: false);
        var file = base.Create(path, size);
        _unflushed[file] = path;
        return file;
    }

    public override void Write(SafeFileHandle file, ReadOnlySpan<byte> bytes, long offset)
    {
        if (Operations + 1 == failsAt)
            base.Write(file, bytes[..(bytes.Length / 2)], offset);
        Next(frees: false);
        base.Write(file, bytes, offset);
    }

    public override void Flush(SafeFileHandle file)
    {
        Next(frees: false);
        _unflushed.Remove(file);
    }

    public override void CreateFolder(string path)
    {
        Next(frees: false);
        base.CreateFolder(path);
    }

    public override void Move(string from, string to)
    {
        Next(frees: true);
        if (!_failed)
            Assert.Empty(_unflushed);
        base.Move(from, to);
    }

    public override bool TryExchange(string one, string other)
    {
        Next(frees: true);
        return canExchange && base.TryExchange(one, other);
    }

    public override void Remove(string folder)
    {
        if (Operations + 1 == failsAt && powerLoss)
            foreach (var file in Directory.GetFiles(folder).Order(StringComparer.Ordinal).Take(2))
                File.Delete(file);
        Next(frees: true);
        base.Remove(folder);
    }

    public override void FlushFolder(string path)
    {
        Next(frees: true);
    }

    // A full disk still lets names be changed and folders be removed.
    private void Next(bool frees)
    {
        Operations++;
        if (Operations == failsAt)
        {
            _failed = true;
            if (powerLoss)
                foreach (var (file, path) in _unflushed)
                    Cut(file, path);
        }
        if (_failed && powerLoss)
            throw new PowerLost();
        if (_failed && !frees)
            throw new IOException("No space left on device");
    }

    private static void Cut(SafeFileHandle file, string path)
    {
        file.Dispose();
        if (File.Exists(path))
            File.WriteAllBytes(path, []);
    }
}
