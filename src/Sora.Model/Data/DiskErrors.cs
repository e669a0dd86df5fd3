using Sora.Protocol.Jobs;

namespace Sora.Model.Data;

/// <summary>Turns what the file system refuses into something a user can act on.</summary>
internal static class DiskErrors
{
    // errno ENOSPC and EDQUOT on Unix, ERROR_DISK_FULL and ERROR_HANDLE_DISK_FULL on Windows.
    private static readonly int[] DiskFull = [28, 122, unchecked((int)0x80070070), unchecked((int)0x80070027)];

    /// <summary>The error for a folder that could not be written.</summary>
    public static SoraException Explained(string path, Exception cause) => cause switch
    {
        IOException io when DiskFull.Contains(io.HResult) =>
            new($"The disk is full: writing to {path} failed. Free some space or choose a folder on another disk.", ExitCode.Failure, cause),
        UnauthorizedAccessException =>
            new($"{path} cannot be written: {cause.Message} Change its permissions or choose another folder.", ExitCode.Failure, cause),
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
}
