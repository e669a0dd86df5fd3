using Sora.Protocol.Jobs;

namespace Sora.Cli.Worker;

/// <summary>Coordinators as they are written on a command line: addresses separated by commas, tried in turn.</summary>
internal static class CoordinatorList
{
    /// <summary>Reads the list.</summary>
    /// <exception cref="SoraException">There is none, or one is no address.</exception>
    public static IReadOnlyList<Uri> Parse(string? list)
    {
        var addresses = (list ?? "").Split(',', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries);
        return addresses.Length > 0
            ? [.. addresses.Select(Address)]
            : throw new SoraException("Say where the coordinator listens: --coordinator http://HOST:PORT. 'sora train' prints its address when it starts.", ExitCode.Usage);
    }

    private static Uri Address(string text) =>
        Uri.TryCreate(text, UriKind.Absolute, out var address) && (address.Scheme is "http" or "https")
            ? address
            : throw new SoraException($"'{text}' is no address of a coordinator: write http://HOST:PORT.", ExitCode.Usage);
}
