using Sora.Protocol.Jobs;

namespace Sora.Model.Data;

/// <summary>Turns what the file system refuses into something a user can act on.</summary>
internal static class DiskErrors
{
    // errno ENOSPC and EDQUOT on Unix, ERROR_DISK_FULL and ERROR_HANDLE_DISK_FULL on Windows.
    private static readonly int[] DiskFull = [28, 122, unchecked((int)0x80070070), unchecked((int)0x80070027)];

    // errno EEXIST and ENOTDIR (a file where a folder should be) and EROFS on Unix, ERROR_ALREADY_EXISTS and ERROR_WRITE_PROTECT on Windows.
    private static readonly int[] NoPlace = [17, 20, 30, unchecked((int)0x800700B7), unchecked((int)0x80070013)];

    // errno EWOULDBLOCK on Linux and macOS, ERROR_SHARING_VIOLATION on Windows.
    private static readonly int[] HeldByAnother = [11, 35, unchecked((int)0x80070020)];

    /// <summary>Whether a disk, or the user's share of it, is full.</summary>
    public static bool IsFull(Exception cause) => cause is IOException && DiskFull.Contains(cause.HResult);

    /// <summary>Whether another process holds the file.</summary>
    public static bool IsHeld(IOException cause) => HeldByAnother.Contains(cause.HResult);

    /// <summary>The error for a folder that could not be written: a wrong choice of the folder where that is what it is, else a failure.</summary>
    public static SoraException Explained(string path, Exception cause) => cause switch
    {
        _ when IsFull(cause) =>
            new($"The disk is full: writing to {path} failed. Free some space or choose a folder on another disk.", ExitCode.Failure, cause),
        UnauthorizedAccessException =>
            new($"{path} cannot be written: {cause.Message} Change its permissions or choose another folder.", ExitCode.Usage, cause),
        FileNotFoundException or DirectoryNotFoundException or PathTooLongException =>
            new($"{path} cannot be written: {Obstacle(path)}. Choose another folder.", ExitCode.Usage, cause),
        _ when NoPlace.Contains(cause.HResult) =>
            new($"{path} cannot be written: {Obstacle(path)}. Choose another folder.", ExitCode.Usage, cause),
        _ => new($"Writing to {path} failed: {cause.Message}", ExitCode.Failure, cause),
    };

    /// <summary>Runs something that writes below a folder.</summary>
    public static void Explain(string path, Action write)
    {
        try
        {
            write();
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw Explained(path, e);
        }
    }

    // The system names the folder that is missing; what helps is the one above it that is there and takes nothing in.
    private static string Obstacle(string path)
    {
        var parent = Path.GetDirectoryName(Path.TrimEndingDirectorySeparator(Path.GetFullPath(path)));
        while (parent is not null && !Path.Exists(parent)) parent = Path.GetDirectoryName(parent);
        return File.Exists(parent) ? $"{parent} is a file, not a folder" : $"nothing can be created in {parent}";
    }
}
