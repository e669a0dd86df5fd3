using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Console;

namespace Sora.Cli.Shell;

/// <summary>Log lines of processes that serve others: on stderr, one line each.</summary>
internal static class StandardErrorLog
{
    public static void Configure(ILoggingBuilder builder, LogLevel least)
    {
        builder.SetMinimumLevel(least);
        builder.AddSimpleConsole(console =>
        {
            console.SingleLine = true;
            console.TimestampFormat = "HH:mm:ss.fff ";
            console.UseUtcTimestamp = true;
            console.ColorBehavior = LoggerColorBehavior.Disabled;
        });
        builder.Services.Configure<ConsoleLoggerOptions>(console => console.LogToStandardErrorThreshold = LogLevel.Trace);
    }
}
