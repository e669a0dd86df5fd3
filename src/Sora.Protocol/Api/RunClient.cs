using System.Runtime.CompilerServices;
using Grpc.Core;
using Sora.Protocol.Jobs;
using Sora.Protocol.Runs;

namespace Sora.Protocol.Api;

/// <summary>
/// Submits, watches and stops runs from outside. Given several coordinators it turns to the next when one does not answer, and
/// goes on watching where it left off.
/// </summary>
/// <param name="coordinators">Channels to the coordinators, the first one first.</param>
/// <param name="token">What they want to be shown.</param>
public sealed class RunClient(IReadOnlyList<CallInvoker> coordinators, string token)
{
    private readonly Metadata _headers = new() { { "authorization", $"Bearer {token}" } };
    private int _current;

    /// <summary>For how long they are tried while none of them answers.</summary>
    public TimeSpan Patience { get; init; } = TimeSpan.FromSeconds(30);

    /// <summary>The pause before the next one is tried.</summary>
    public TimeSpan RetryDelay { get; init; } = TimeSpan.FromMilliseconds(500);

    /// <summary>Clock of <see cref="Patience"/> and <see cref="RetryDelay"/>.</summary>
    public TimeProvider Time { get; init; } = TimeProvider.System;

    /// <summary>Reads a line of <see cref="WatchAsync"/>; null: an event that cannot be shown. Those of federated runs have names of their own.</summary>
    public Func<string, RunEvent?> Read { get; init; } = RunEventJson.Read;

    /// <summary>Tells news from what is known up to a step.</summary>
    public Func<long, Func<RunEvent, bool>> NewsFrom { get; init; } = from => new RunNews(from).IsNews;

    /// <summary>Whether an event is a run's last.</summary>
    public Func<RunEvent, bool> Ends { get; init; } = happened => happened is RunFinished or RunStopped or RunFailed;

    /// <summary>Submits a federated run, which has an id; returns once it is journaled.</summary>
    /// <exception cref="SoraException">It is refused, or no coordinator answers.</exception>
    public Task SubmitAsync(SubmitFederationRequest request, CancellationToken cancellationToken) =>
        CallAsync(gateway => gateway.SubmitFederationAsync(request, _headers, cancellationToken: cancellationToken).ResponseAsync, cancellationToken);

    /// <summary>Submits a run; returns its id once it is journaled.</summary>
    /// <exception cref="SoraException">It is refused, or no coordinator answers.</exception>
    public async Task<string> SubmitAsync(SubmitRunRequest request, CancellationToken cancellationToken)
    {
        // Sent again after a lost answer, it must not become a second run.
        var named = request.Clone();
        if (named.Run.Length == 0)
            named.Run = Guid.NewGuid().ToString("N");
        return (await CallAsync(gateway => gateway.SubmitRunAsync(named, _headers, cancellationToken: cancellationToken).ResponseAsync, cancellationToken)).Run;
    }

    /// <summary>Asks a run to stop with a checkpoint; <see cref="WatchAsync"/> tells when it has.</summary>
    /// <exception cref="SoraException">There is no such run, or no coordinator answers.</exception>
    public Task StopAsync(string run, string reason, CancellationToken cancellationToken) =>
        CallAsync(gateway => gateway.StopRunAsync(new StopRunRequest { Run = run, Reason = reason }, _headers, cancellationToken: cancellationToken).ResponseAsync, cancellationToken);

    /// <summary>All runs the journal knows, the oldest first.</summary>
    /// <exception cref="SoraException">No coordinator answers.</exception>
    public async Task<IReadOnlyList<RunSummary>> ListAsync(CancellationToken cancellationToken) =>
        (await CallAsync(gateway => gateway.ListRunsAsync(new ListRunsRequest(), _headers, cancellationToken: cancellationToken).ResponseAsync, cancellationToken)).Runs;

    /// <summary>
    /// What happens in a run, beginning with what happened before and still matters, to its <see cref="RunFinished"/>,
    /// <see cref="RunStopped"/> or <see cref="RunFailed"/>. The newest 4096 reports are told to whoever begins
    /// to watch, so nothing is missing where one coordinator took over from another.
    /// </summary>
    /// <param name="run">Id of the run.</param>
    /// <param name="from">The last step already known; -1: none.</param>
    /// <param name="cancellationToken">Ends the watching.</param>
    /// <exception cref="SoraException">There is no such run, or no coordinator answers.</exception>
    public async IAsyncEnumerable<RunEvent> WatchAsync(string run, long from = -1, [EnumeratorCancellation] CancellationToken cancellationToken = default)
    {
        var isNews = NewsFrom(from);
        var request = new WatchRunRequest { Run = run, From = from };
        var heard = Time.GetTimestamp();
        while (true)
        {
            using var call = Gateway().WatchRun(request, _headers, cancellationToken: cancellationToken);
            while (await NextAsync(call.ResponseStream, heard, cancellationToken) is { } line)
            {
                heard = Time.GetTimestamp();
                if (Read(line.Json) is not { } happened || !isNews(happened))
                    continue;
                yield return happened;
                if (Ends(happened))
                    yield break;
            }
            await TurnToNextAsync(cancellationToken);
        }
    }

    /// <returns>Null when another coordinator is to be asked.</returns>
    private async Task<RunEventLine?> NextAsync(IAsyncStreamReader<RunEventLine> lines, long heard, CancellationToken cancellationToken)
    {
        try
        {
            return await lines.MoveNext(cancellationToken) ? lines.Current : null;
        }
        catch (RpcException exception) when (IsLost(exception) && !cancellationToken.IsCancellationRequested && Time.GetElapsedTime(heard) < Patience)
        {
            return null;
        }
        catch (RpcException exception)
        {
            cancellationToken.ThrowIfCancellationRequested();
            throw Explain(exception);
        }
    }

    private async Task<T> CallAsync<T>(Func<RunGateway.RunGatewayClient, Task<T>> call, CancellationToken cancellationToken)
    {
        var began = Time.GetTimestamp();
        while (true)
        {
            try
            {
                return await call(Gateway());
            }
            catch (RpcException exception) when (IsLost(exception) && !cancellationToken.IsCancellationRequested && Time.GetElapsedTime(began) < Patience)
            {
                await TurnToNextAsync(cancellationToken);
            }
            catch (RpcException exception)
            {
                cancellationToken.ThrowIfCancellationRequested();
                throw Explain(exception);
            }
        }
    }

    private RunGateway.RunGatewayClient Gateway() => new(coordinators[_current]);

    private Task TurnToNextAsync(CancellationToken cancellationToken)
    {
        _current = (_current + 1) % coordinators.Count;
        return Task.Delay(RetryDelay, Time, cancellationToken);
    }

    // A connection that breaks in the middle of an answer shows in several ways.
    private static bool IsLost(RpcException exception) =>
        exception.StatusCode is StatusCode.Unavailable or StatusCode.Cancelled || exception.Status.DebugException is IOException or HttpRequestException;

    private static SoraException Explain(RpcException exception) => exception.StatusCode switch
    {
        _ when IsLost(exception) => new SoraException($"No coordinator answers: {exception.Status.Detail}. Is one running, and is its address right?", ExitCode.Unreachable, exception),
        StatusCode.InvalidArgument or StatusCode.NotFound or StatusCode.FailedPrecondition or StatusCode.Unauthenticated => new SoraException(exception.Status.Detail, ExitCode.Usage, exception),
        _ => new SoraException($"The coordinator failed: {exception.StatusCode}, {exception.Status.Detail}", ExitCode.Failure, exception),
    };
}
