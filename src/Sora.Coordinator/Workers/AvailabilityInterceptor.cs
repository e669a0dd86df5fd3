using Grpc.Core;
using Grpc.Core.Interceptors;

namespace Sora.Coordinator.Workers;

/// <summary>
/// Calls that fail because the actors are not there yet, or not any more, are told so: whoever called asks another coordinator, or
/// this one again. Akka has no one exception for that.
/// </summary>
internal sealed class AvailabilityInterceptor(CoordinatorActors actors) : Interceptor
{
    /// <summary>What a call is told that this coordinator cannot answer because it starts or ends.</summary>
    public static RpcException Unavailable() => new(new Status(StatusCode.Unavailable, "This coordinator is starting or ending; ask another, or later."));

    public override async Task<TResponse> UnaryServerHandler<TRequest, TResponse>(TRequest request, ServerCallContext context, UnaryServerMethod<TRequest, TResponse> continuation)
    {
        try
        {
            return await continuation(request, context);
        }
        catch (Exception exception) when (IsTheirAbsence(exception, context))
        {
            throw Unavailable();
        }
    }

    public override async Task ServerStreamingServerHandler<TRequest, TResponse>(TRequest request, IServerStreamWriter<TResponse> responseStream, ServerCallContext context, ServerStreamingServerMethod<TRequest, TResponse> continuation)
    {
        try
        {
            await continuation(request, responseStream, context);
        }
        catch (Exception exception) when (IsTheirAbsence(exception, context))
        {
            throw Unavailable();
        }
    }

    public override async Task DuplexStreamingServerHandler<TRequest, TResponse>(IAsyncStreamReader<TRequest> requestStream, IServerStreamWriter<TResponse> responseStream, ServerCallContext context, DuplexStreamingServerMethod<TRequest, TResponse> continuation)
    {
        try
        {
            await continuation(requestStream, responseStream, context);
        }
        catch (Exception exception) when (IsTheirAbsence(exception, context))
        {
            throw Unavailable();
        }
    }

    private bool IsTheirAbsence(Exception exception, ServerCallContext context) =>
        exception is not RpcException && !context.CancellationToken.IsCancellationRequested && !actors.AreHere;
}
