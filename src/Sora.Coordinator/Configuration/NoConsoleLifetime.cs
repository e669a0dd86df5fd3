using Microsoft.Extensions.Hosting;

namespace Sora.Coordinator.Configuration;

/// <summary>Leaves Ctrl-C and SIGTERM to the process the coordinator lives in.</summary>
internal sealed class NoConsoleLifetime : IHostLifetime
{
    public Task WaitForStartAsync(CancellationToken cancellationToken) => Task.CompletedTask;

    public Task StopAsync(CancellationToken cancellationToken) => Task.CompletedTask;
}
