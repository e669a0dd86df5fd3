using System.Runtime.InteropServices;

namespace Sora.Model.Native;

/// <summary>Loads native libraries by absolute path and says why when it cannot.</summary>
internal static partial class SharedLibrary
{
    private const int ResolveAllNow = 2; // RTLD_NOW

    /// <summary>
    /// Loads a library, resolving all its symbols at once where the system can: a libtorch of another version then fails
    /// here, with the symbol's name, and not in the middle of a run.
    /// </summary>
    /// <returns>Null, or the loader's own words.</returns>
    public static string? TryLoadNow(string path, out nint handle)
    {
        if (OperatingSystem.IsLinux())
        {
            _ = Error(); // binds the function itself now: binding it after a failure would wipe the message
            handle = Open(path, ResolveAllNow);
            return handle != 0 ? null : Marshal.PtrToStringUTF8(Error()) ?? "unknown error of the loader";
        }
        try
        {
            handle = NativeLibrary.Load(path);
            return null;
        }
        catch (Exception error) when (error is DllNotFoundException or BadImageFormatException)
        {
            handle = 0;
            return error.Message;
        }
    }

    /// <summary>File name of a library on this system: <c>libx.so</c>, <c>x.dll</c> or <c>libx.dylib</c>.</summary>
    public static string FileName(string name) =>
        OperatingSystem.IsWindows() ? $"{name}.dll" : OperatingSystem.IsMacOS() ? $"lib{name}.dylib" : $"lib{name}.so";

    [LibraryImport("libc.so.6", EntryPoint = "dlopen", StringMarshalling = StringMarshalling.Utf8)]
    private static partial nint Open(string path, int flags);

    [LibraryImport("libc.so.6", EntryPoint = "dlerror")]
    private static partial nint Error();
}
