using System.Runtime.InteropServices;
using System.Text.RegularExpressions;
using Sora.Protocol.Jobs;

namespace Sora.Model.Native;

/// <summary>
/// A GPU that fails, in words a user can act on. What libtorch throws then is no fault of the job: the process can use the device no
/// more, and a new one on the same or another device may.
/// </summary>
public static partial class DeviceErrors
{
    /// <summary>The error as a user should read it; null when it is about something else.</summary>
    public static SoraException? Explain(Exception error) => error switch
    {
        ExternalException when Memory().IsMatch(error.Message) => new SoraException(
            $"The GPU has a memory error that could not be corrected (ECC): {FirstLine(error)} Look at 'nvidia-smi -q -d ECC,ROW_REMAPPER', and reset or replace the GPU before using it again.", ExitCode.Failure, error),
        ExternalException when Device().IsMatch(error.Message) => new SoraException(
            $"The GPU has failed: {FirstLine(error)} Look at 'nvidia-smi' and at the system's log for Xid messages; if it happens again, use another GPU or driver.", ExitCode.Failure, error),
        _ => null,
    };

    private static string FirstLine(Exception error)
    {
        var line = error.Message.AsSpan().Trim();
        line = line.IndexOfAny('\r', '\n') is var end and >= 0 ? line[..end] : line;
        return line.TrimEnd('.').ToString() + ".";
    }

    [GeneratedRegex("uncorrectable (NVLink|ECC)|ECC error", RegexOptions.IgnoreCase)]
    private static partial Regex Memory();

    [GeneratedRegex("CUDA (driver )?error|cuDNN error|CUBLAS_STATUS_|CUDNN_STATUS_|NCCL error|HIP error", RegexOptions.IgnoreCase)]
    private static partial Regex Device();
}
