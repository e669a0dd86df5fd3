using Microsoft.Extensions.Logging;

namespace Sora.Worker.Tests.Exchange;

/// <summary>Tells when something is logged for the first time.</summary>
internal sealed class LogWatch(int eventId) : ILogger
{
    private readonly TaskCompletionSource _logged = new(TaskCreationOptions.RunContinuationsAsynchronously);

    public Task Logged => _logged.Task;

    public IDisposable? BeginScope<TState>(TState state) where TState : notnull => null;

    public bool IsEnabled(LogLevel logLevel) => true;

    public void Log<TState>(LogLevel logLevel, EventId id, TState state, Exception? exception, Func<TState, Exception?, string> formatter)
    {
        if (id.Id == eventId)
            _logged.TrySetResult();
    }
}
