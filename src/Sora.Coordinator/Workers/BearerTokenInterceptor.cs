using System.Security.Cryptography;
using System.Text;
using Grpc.Core;
using Grpc.Core.Interceptors;
using Sora.Protocol.Api;

namespace Sora.Coordinator.Workers;

/// <summary>Lets a call through only with the coordinator's token in its <c>authorization</c> header.</summary>
internal sealed class BearerTokenInterceptor(CoordinatorToken token) : Interceptor
{
    private const string Header = "authorization";

    // Sites prove their keys instead, on a stream without a token; the calls beside it show a ticket of that stream.
    private static readonly HashSet<string> ForSitesAlone = [NameOf("SendUpdate"), NameOf("GetModel")];
    private static readonly string ForSitesToo = NameOf("Session");

    /// <summary>Whether the caller showed the token; only a site's stream may do without.</summary>
    public static bool IsTrusted(ServerCallContext context) => context.RequestHeaders.GetValue(Header) is not null;

    public override Task<TResponse> UnaryServerHandler<TRequest, TResponse>(TRequest request, ServerCallContext context, UnaryServerMethod<TRequest, TResponse> continuation)
    {
        Check(context);
        return continuation(request, context);
    }

    public override Task ServerStreamingServerHandler<TRequest, TResponse>(TRequest request, IServerStreamWriter<TResponse> responseStream, ServerCallContext context, ServerStreamingServerMethod<TRequest, TResponse> continuation)
    {
        Check(context);
        return continuation(request, responseStream, context);
    }

    public override Task<TResponse> ClientStreamingServerHandler<TRequest, TResponse>(IAsyncStreamReader<TRequest> requestStream, ServerCallContext context, ClientStreamingServerMethod<TRequest, TResponse> continuation)
    {
        Check(context);
        return continuation(requestStream, context);
    }

    public override Task DuplexStreamingServerHandler<TRequest, TResponse>(IAsyncStreamReader<TRequest> requestStream, IServerStreamWriter<TResponse> responseStream, ServerCallContext context, DuplexStreamingServerMethod<TRequest, TResponse> continuation)
    {
        Check(context);
        return continuation(requestStream, responseStream, context);
    }

    /// <summary>The answer to whoever should have shown the token.</summary>
    public static RpcException NotTrusted() => new(new Status(StatusCode.Unauthenticated, "The token is missing or wrong. Show the one the coordinator printed or was given."));

    private static string NameOf(string method) => "/" + WorkerGateway.Descriptor.FullName + "/" + WorkerGateway.Descriptor.FindMethodByName(method).Name;

    private void Check(ServerCallContext context)
    {
        if (ForSitesAlone.Contains(context.Method) || (context.Method == ForSitesToo && !IsTrusted(context)))
            return;
        if (!token.Accepts(context.RequestHeaders.GetValue(Header)))
            throw NotTrusted();
    }
}

/// <summary>The secret workers must show.</summary>
internal sealed class CoordinatorToken(string text)
{
    private const string Scheme = "Bearer ";
    private readonly byte[] _hash = SHA256.HashData(Encoding.UTF8.GetBytes(text));

    public string Text { get; } = text;

    public static CoordinatorToken CreateRandom() => new(Convert.ToHexStringLower(RandomNumberGenerator.GetBytes(32)));

    /// <summary>Compares hashes, so that neither content nor length shows in the time it takes.</summary>
    public bool Accepts(string? header) =>
        header is not null
        && header.StartsWith(Scheme, StringComparison.OrdinalIgnoreCase)
        && CryptographicOperations.FixedTimeEquals(SHA256.HashData(Encoding.UTF8.GetBytes(header[Scheme.Length..])), _hash);
}
