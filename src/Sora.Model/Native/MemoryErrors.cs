using System.Globalization;
using System.Runtime.InteropServices;
using System.Text.RegularExpressions;
using Sora.Protocol.Jobs;

namespace Sora.Model.Native;

/// <summary>Memory that is exhausted, in words a user can act on: libtorch says it with a trace of its own functions.</summary>
public static partial class MemoryErrors
{
    private const string Advice = "Use a smaller model, context_length or per_device_train_batch_size, fewer workers on this machine, or a machine with more memory.";

    /// <summary>The error as a user should read it; null when it is about something else.</summary>
    public static SoraException? Explain(Exception error) => error switch
    {
        OutOfMemoryException => new SoraException($"There is not enough memory: {error.Message} {Advice}", ExitCode.Failure, error),
        ExternalException when Refused().Match(error.Message) is { Success: true } refused =>
            new SoraException($"There is not enough memory: {Size(refused)} more were asked for and not there. {Advice}", ExitCode.Failure, error),
        ExternalException when error.Message.Contains("calculation overflowed", StringComparison.Ordinal) =>
            new SoraException($"A tensor of this network is larger than any memory. {Advice}", ExitCode.Usage, error),
        _ => null,
    };

    private static string Size(Match refused) => refused.Groups["unit"].Value == "bytes" && double.TryParse(refused.Groups["size"].Value, CultureInfo.InvariantCulture, out var bytes)
        ? string.Create(CultureInfo.InvariantCulture, $"{bytes / (1 << 30):0.##} GiB")
        : $"{refused.Groups["size"].Value} {refused.Groups["unit"].Value}";

    // Of the allocators of the CPU ("you tried to allocate 4000000000 bytes") and of CUDA ("Tried to allocate 2.00 GiB").
    [GeneratedRegex("tried to allocate (?<size>[0-9.]+) (?<unit>bytes|[KMGT]iB)", RegexOptions.IgnoreCase)]
    private static partial Regex Refused();
}
