using System.Collections.Concurrent;
using System.Threading.Channels;
using Google.Protobuf;
using Grpc.Core;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;
using Sora.Federation.Aggregation.Updates;
using Sora.Federation.Identity;
using Sora.Federation.Rounds;
using Sora.Protocol.Api;

namespace Sora.Worker.Tests.Sites;

/// <summary>A coordinator on a real connection that does what a test tells it to, and keeps every byte that sites send it.</summary>
internal sealed class FederationServer : WorkerGateway.WorkerGatewayBase, IAsyncDisposable
{
    private readonly Channel<SiteStream> _streams = Channel.CreateUnbounded<SiteStream>();
    private readonly ConcurrentDictionary<int, byte[]> _models = new();
    private WebApplication _host = null!;

    private FederationServer(IdentityKey? key) => Key = key ?? IdentityKey.Create();

    public IdentityKey Key { get; }

    public Uri Address { get; private set; } = null!;

    /// <summary>Every message that came, as it came.</summary>
    public ConcurrentQueue<IMessage> Received { get; } = new();

    /// <summary>Chunks that came, by update and in the order in which they came.</summary>
    public ConcurrentQueue<(string Update, int Chunk, byte[] Content)> Chunks { get; } = new();

    /// <summary>Manifests that came.</summary>
    public ConcurrentQueue<UpdateManifest> Manifests { get; } = new();

    /// <summary>Updates that came to their end.</summary>
    public Channel<string> Stored { get; } = Channel.CreateUnbounded<string>();

    /// <summary>After how many chunks of one call the connection breaks.</summary>
    public int BreaksAfter { get; set; } = int.MaxValue;

    public static async Task<FederationServer> StartAsync(IdentityKey? key = null)
    {
        var server = new FederationServer(key);
        var builder = WebApplication.CreateSlimBuilder();
        builder.Logging.ClearProviders();
        builder.WebHost.ConfigureKestrel(options => options.Listen(System.Net.IPAddress.Loopback, 0, listen => listen.Protocols = HttpProtocols.Http2));
        builder.Services.AddGrpc();
        builder.Services.AddSingleton(server);
        server._host = builder.Build();
        server._host.MapGrpcService<FederationServer>();
        await server._host.StartAsync(Patience.Token);
        server.Address = new Uri(server._host.Urls.First());
        return server;
    }

    /// <summary>Gives a model out.</summary>
    public ModelVersion Publish(int number, ReadOnlySpan<float> parameters)
    {
        var bytes = System.Runtime.InteropServices.MemoryMarshal.AsBytes(parameters).ToArray();
        _models[number] = bytes;
        return new ModelVersion(number, Convert.ToHexStringLower(System.Security.Cryptography.SHA256.HashData(bytes)));
    }

    /// <summary>Waits for a site to dial.</summary>
    public async Task<SiteStream> AcceptAsync() => await _streams.Reader.ReadAsync(Patience.Token);

    public override async Task Session(IAsyncStreamReader<FromWorker> requestStream, IServerStreamWriter<FromCoordinator> responseStream, ServerCallContext context)
    {
        var stream = new SiteStream(this);
        _streams.Writer.TryWrite(stream);
        var reading = ReadAsync();
        try
        {
            await foreach (var message in stream.Outgoing.Reader.ReadAllAsync(context.CancellationToken))
                await responseStream.WriteAsync(message, context.CancellationToken);
        }
        catch (OperationCanceledException)
        {
            // The site is gone.
        }

        async Task ReadAsync()
        {
            try
            {
                while (await requestStream.MoveNext(context.CancellationToken))
                {
                    Received.Enqueue(requestStream.Current);
                    stream.Incoming.Writer.TryWrite(requestStream.Current);
                }
                stream.Outgoing.Writer.TryComplete();
            }
            catch (Exception e) when (e is IOException or OperationCanceledException or InvalidOperationException)
            {
                // The site is gone.
            }
            stream.Incoming.Writer.TryComplete();
        }
    }

    public override async Task<UpdateReceipt> SendUpdate(IAsyncStreamReader<UpdateChunk> requestStream, ServerCallContext context)
    {
        UpdateManifest? manifest = null;
        for (var count = 0; await requestStream.MoveNext(context.CancellationToken); count++)
        {
            var chunk = requestStream.Current;
            Received.Enqueue(chunk);
            if (manifest is null)
            {
                if (chunk.Ticket != SiteStream.Ticket)
                    throw new RpcException(new Status(StatusCode.PermissionDenied, "another ticket"));
                Manifests.Enqueue(manifest = UpdateManifest.Read(chunk.Manifest.Memory));
            }
            if (count == BreaksAfter)
                throw new RpcException(new Status(StatusCode.Unavailable, "the line broke"));
            Chunks.Enqueue((Convert.ToHexStringLower(manifest.Hash.Span), (int)chunk.Chunk, chunk.Content.ToByteArray()));
        }
        Stored.Writer.TryWrite(Convert.ToHexStringLower(manifest!.Hash.Span));
        return new UpdateReceipt { Stored = true };
    }

    public override async Task GetModel(ModelRequest request, IServerStreamWriter<ModelChunk> responseStream, ServerCallContext context)
    {
        Received.Enqueue(request);
        var bytes = _models[(int)request.Number];
        for (var at = 0; at < bytes.Length; at += 1000)
            await responseStream.WriteAsync(new ModelChunk { Content = UnsafeByteOperations.UnsafeWrap(bytes.AsMemory(at, Math.Min(1000, bytes.Length - at))) });
    }

    public async ValueTask DisposeAsync()
    {
        await _host.DisposeAsync();
        Key.Dispose();
    }
}
