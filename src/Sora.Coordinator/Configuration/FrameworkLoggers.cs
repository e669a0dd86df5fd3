using Microsoft.Extensions.Logging;

namespace Sora.Coordinator.Configuration;

/// <summary>Lets Akka, Kestrel and gRPC speak up only when something is wrong: a coordinator's log is about runs.</summary>
internal sealed class FrameworkLoggers(ILoggerFactory inner) : ILoggerFactory
{
    public ILogger CreateLogger(string categoryName) => new WarningsOnly(inner.CreateLogger(categoryName));

    public void AddProvider(ILoggerProvider provider) => inner.AddProvider(provider);

    public void Dispose()
    {
        // The inner factory belongs to whoever started the coordinator.
    }

    // Said five times a second while there is no cluster, and of seed nodes nobody configured; ClusterFounding says it once, and what to do.
    private static bool IsRepeated(string message) => message.Contains("No coordinator found to register", StringComparison.Ordinal);

    private sealed class WarningsOnly(ILogger inner) : ILogger
    {
        public IDisposable? BeginScope<TState>(TState state) where TState : notnull => inner.BeginScope(state);

        public bool IsEnabled(LogLevel logLevel) => logLevel >= LogLevel.Warning && inner.IsEnabled(logLevel);

        public void Log<TState>(LogLevel logLevel, EventId eventId, TState state, Exception? exception, Func<TState, Exception?, string> formatter)
        {
            if (IsEnabled(logLevel) && !IsRepeated(formatter(state, exception)))
                inner.Log(logLevel, eventId, state, exception, formatter);
        }
    }
}
