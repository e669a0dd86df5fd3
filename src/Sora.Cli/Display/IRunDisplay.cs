using Sora.Protocol.Runs;

namespace Sora.Cli.Display;

/// <summary>Shows a run to whoever started it. Called from one thread at a time.</summary>
internal interface IRunDisplay : IAsyncDisposable
{
    /// <summary>Shows what happened.</summary>
    void Show(RunEvent happened);
}

/// <summary>Picks how to show a run.</summary>
internal static class RunDisplay
{
    /// <summary>JSON when asked for, a live bar on a terminal that can draw one, lines otherwise.</summary>
    public static IRunDisplay Create(bool json, TimeProvider clock) =>
        json ? new JsonDisplay(Console.Out)
        : IsLive() ? new LiveDisplay(clock)
        : new PlainDisplay(Console.Out, Console.Error, clock);

    private static bool IsLive() =>
        !Console.IsOutputRedirected
        && string.IsNullOrEmpty(Environment.GetEnvironmentVariable("NO_COLOR"))
        && Environment.GetEnvironmentVariable("TERM") is not ("dumb" or "");
}
