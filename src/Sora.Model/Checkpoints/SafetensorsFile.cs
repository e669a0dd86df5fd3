using Microsoft.Win32.SafeHandles;
using Sora.Protocol.Jobs;

namespace Sora.Model.Checkpoints;

/// <summary>
/// An open safetensors file. Tensors are read by position straight into the memory that will hold them: one copy, no
/// managed arrays, any size. (A mapping would save that copy, but a file cut short by another process would then end
/// this one with a bus error instead of an exception.)
/// </summary>
public sealed class SafetensorsFile : IDisposable
{
    /// <summary>Bytes moved in one call to the operating system.</summary>
    internal const int BlockSize = 1 << 20;

    private readonly SafeFileHandle _file;
    private readonly Dictionary<string, TensorEntry> _byName;

    private SafetensorsFile(string path, SafeFileHandle file, IReadOnlyList<TensorEntry> tensors, IReadOnlyDictionary<string, string> metadata)
    {
        (Path, _file, Tensors, Metadata) = (path, file, tensors, metadata);
        _byName = tensors.ToDictionary(tensor => tensor.Name, StringComparer.Ordinal);
    }

    /// <summary>Where it lies.</summary>
    public string Path { get; }

    /// <summary>Its tensors, in file order.</summary>
    public IReadOnlyList<TensorEntry> Tensors { get; }

    /// <summary>The header's <c>__metadata__</c>.</summary>
    public IReadOnlyDictionary<string, string> Metadata { get; }

    /// <summary>Opens a file and checks its whole header.</summary>
    /// <exception cref="SoraException">The file cannot be read or breaks a rule of the format; the message says which.</exception>
    public static SafetensorsFile Open(string path)
    {
        SafeFileHandle? file = null;
        try
        {
            file = File.OpenHandle(path, FileMode.Open, FileAccess.Read, FileShare.Read);
            var size = RandomAccess.GetLength(file);
            var prefix = new byte[(int)Math.Min(size, 8)];
            ReadExactly(file, prefix, 0, path);
            var json = new byte[SafetensorsHeader.ReadLength(prefix, size, path)];
            ReadExactly(file, json, 8, path);
            var (tensors, metadata) = SafetensorsHeader.Parse(json, size, path);
            var opened = new SafetensorsFile(path, file, tensors, metadata);
            file = null;
            return opened;
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            throw new SoraException($"Cannot read {path}: {exception.Message}", ExitCode.InvalidInput, exception);
        }
        finally
        {
            file?.Dispose();
        }
    }

    /// <summary>The tensor of that name, or null.</summary>
    public TensorEntry? Find(string name) => _byName.GetValueOrDefault(name);

    /// <summary>Reads part of a tensor.</summary>
    /// <param name="tensor">One of <see cref="Tensors"/>.</param>
    /// <param name="start">First byte, counted within the tensor.</param>
    /// <param name="destination">Receives the bytes; filled whole.</param>
    public void Read(TensorEntry tensor, long start, Span<byte> destination)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(start);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(destination.Length, tensor.ByteCount - start);
        try
        {
            ReadExactly(_file, destination, tensor.Offset + start, Path);
        }
        catch (IOException exception)
        {
            throw new SoraException($"Cannot read tensor '{tensor.Name}' of {Path}: {exception.Message}", ExitCode.InvalidInput, exception);
        }
    }

    /// <summary>Reads a whole tensor, of any size, into native memory.</summary>
    /// <param name="tensor">One of <see cref="Tensors"/>.</param>
    /// <param name="address">Receives <see cref="TensorEntry.ByteCount"/> bytes.</param>
    public unsafe void Read(TensorEntry tensor, nint address)
    {
        for (long done = 0; done < tensor.ByteCount;)
        {
            var count = (int)Math.Min(BlockSize, tensor.ByteCount - done);
            Read(tensor, done, new Span<byte>((byte*)address + done, count));
            done += count;
        }
    }

    /// <inheritdoc/>
    public void Dispose() => _file.Dispose();

    private static void ReadExactly(SafeFileHandle file, Span<byte> destination, long offset, string path)
    {
        while (destination.Length > 0)
        {
            var read = RandomAccess.Read(file, destination, offset);
            if (read == 0)
                throw SafetensorsHeader.Invalid(path, $"it ends at byte {offset} while its header promises more");
            destination = destination[read..];
            offset += read;
        }
    }
}
