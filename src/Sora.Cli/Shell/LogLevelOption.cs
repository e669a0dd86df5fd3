using System.CommandLine;
using Microsoft.Extensions.Logging;

namespace Sora.Cli.Shell;

/// <summary><c>--log-level</c>: how much a process that serves others writes to stderr.</summary>
internal static class LogLevelOption
{
    public static Option<LogLevel> Create(LogLevel usual)
    {
        var option = new Option<LogLevel>("--log-level")
        {
            Description = "What is written to stderr at least: trace, debug, information, warning, error or none.",
            HelpName = "LEVEL",
            DefaultValueFactory = _ => usual,
        };
        option.CompletionSources.Clear();
        option.CompletionSources.Add("trace", "debug", "information", "warning", "error", "none");
        return option;
    }
}
