using System.Net;
using System.Net.Sockets;
using System.Runtime.CompilerServices;
using System.Threading.Channels;
using Akka.Actor;
using Akka.Hosting;
using Grpc.AspNetCore.Server;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Connections;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.DependencyInjection.Extensions;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;
using Sora.Coordinator.Configuration;
using Sora.Coordinator.Corpora;
using Sora.Coordinator.Federations;
using Sora.Coordinator.Runs;
using Sora.Coordinator.Workers;
using Sora.Federation.Rounds;
using Sora.Protocol.Jobs;
using Sora.Protocol.Runs;

namespace Sora.Coordinator;

/// <summary>
/// A coordinator: the listener workers dial, the actors that decide, the journal that remembers. It never touches a tensor.
/// </summary>
public sealed class CoordinatorHost : IAsyncDisposable
{
    // Runs are handed over to the other coordinators within a second or so.
    private static readonly TimeSpan HandOverLimit = TimeSpan.FromSeconds(30);

    private readonly WebApplication _web;
    private readonly IHost _akka;
    private readonly Task<(ActorSystem System, IActorRef Pool)> _actors;
    private readonly CorpusDirectory _corpora;
    private readonly Journal _journal;
    private readonly CoordinatorIdentity _identity;

    private CoordinatorHost(WebApplication web, IHost akka, Task<(ActorSystem System, IActorRef Pool)> actors, CorpusDirectory corpora, Journal journal, CoordinatorIdentity identity, string token)
    {
        _identity = identity;
        _web = web;
        _akka = akka;
        _actors = actors;
        _corpora = corpora;
        _journal = journal;
        Token = token;
        Address = Dialable(new Uri(web.Urls.Single()));
    }

    /// <summary>Where workers on this machine dial.</summary>
    public string Address { get; }

    /// <summary>What workers must show.</summary>
    public string Token { get; }

    /// <summary>Fingerprint of the key that shows sites who this coordinator is. The key is made when it is not there.</summary>
    /// <exception cref="SoraException">It can be neither read nor made.</exception>
    public string Fingerprint => _identity.Key.Public.Fingerprint;

    internal Task<(ActorSystem System, IActorRef Pool)> Actors => _actors;

    /// <summary>
    /// Starts a coordinator. Returns as soon as workers can dial; the actors come up meanwhile, so that worker processes
    /// can already be started.
    /// </summary>
    /// <exception cref="SoraException">The address cannot be listened on or the state folder cannot be written.</exception>
    public static async Task<CoordinatorHost> StartAsync(CoordinatorOptions options, CancellationToken cancellationToken)
    {
        var endpoint = ParseListenUrl(options.ListenUrl);
        _ = ClusterAddress.Of(options);
        var journal = Journal.Of(options);
        var prepared = Task.Run(journal.Prepare, cancellationToken);
        var token = options.Token.Length > 0 ? new CoordinatorToken(options.Token) : CoordinatorToken.CreateRandom();
        var corpora = new CorpusDirectory(options.OpenCorpus);

        var identity = new CoordinatorIdentity(options);
        var akka = BuildAkka(options, corpora, journal, identity);
        var actors = Task.Run(() => StartAkkaAsync(akka, prepared, cancellationToken), cancellationToken);
        var web = BuildWeb(options, endpoint, token, corpora, journal, identity, actors);
        try
        {
            await web.StartAsync(cancellationToken);
            await prepared;
            if (options.ClusterListen.Length > 0)
                await JoinAsync(actors, options);
        }
        catch (Exception exception)
        {
            await StopAsync(web, akka, actors, journal);
            if (exception is not (IOException or SocketException))
                throw;
            var reason = exception.InnerException is AddressInUseException ? "another program uses that port" : exception.Message;
            throw new SoraException($"The coordinator cannot listen on {options.ListenUrl}: {reason}. Stop that program, or choose another address or port (0 takes a free one).", ExitCode.Usage, exception);
        }
        return new CoordinatorHost(web, akka, actors, corpora, journal, identity, token.Text);
    }

    /// <summary>Starts a run. A run the journal knows as finished is not computed again: its result is the only event.</summary>
    /// <exception cref="SoraException">The submission cannot be carried out as it is.</exception>
    public async Task<RunHandle> SubmitAsync(RunSubmission submission)
    {
        submission.Check();
        var (system, _) = await _actors;
        if (submission.Pieces is { } pieces)
            _corpora.Provide(submission.Run, submission.CorpusHash, pieces);
        var (events, watch) = RunWatching.Submit(system, new SubmitRun(submission.ToSpec()));
        return new RunHandle(submission.Run, ToEndAsync(submission, events), reason => watch.Tell(new StopWatchedRun(reason)));
    }

    /// <summary>Starts a federated run. One that is over is not begun again: how it ended is the only event.</summary>
    /// <exception cref="SoraException">The submission cannot be carried out as it is.</exception>
    public async Task<RunHandle> SubmitAsync(FederationSubmission submission)
    {
        var message = submission.ToMessage();
        var (system, _) = await _actors;
        var (events, watch) = RunWatching.Submit(system, message);
        return new RunHandle(message.Run, ToEndAsync(message, events), reason => watch.Tell(new StopWatchedRun(reason)));
    }

    /// <summary>
    /// Watches a run that was submitted anywhere: first what happened so far and still matters, then what happens. The events end
    /// without a <see cref="RunFinished"/>, <see cref="RunStopped"/> or <see cref="RunFailed"/> when this coordinator does.
    /// </summary>
    /// <param name="run">Id of the run.</param>
    /// <param name="from">The last step already known; -1: none.</param>
    public async Task<IAsyncEnumerable<RunEvent>> WatchAsync(string run, long from = -1)
    {
        var (system, _) = await _actors;
        return RunWatching.Watch(system, run, from);
    }

    /// <summary>What the journal knows of a run that is not federated.</summary>
    public async Task<RunStatus> QueryAsync(string run, CancellationToken cancellationToken)
    {
        if (FederationRegion.Owns(run))
            throw new SoraException($"Run {run} is federated: watch it, or list the runs.", ExitCode.Usage);
        var (system, _) = await _actors;
        return await JobRegion.QueryAsync(system, new QueryRun(run), cancellationToken);
    }

    /// <summary>
    /// Completes when this coordinator ends without having been asked to: the others of its cluster went on without it, after a
    /// pause or a cut of the network. Its process must end too, and may be started again.
    /// </summary>
    public async Task WaitForEndAsync(CancellationToken cancellationToken)
    {
        var (system, _) = await _actors.WaitAsync(cancellationToken);
        await system.WhenTerminated.WaitAsync(cancellationToken);
    }

    /// <summary>Ends what is going on, or leaves it to the others of its cluster, and closes the journal.</summary>
    public async ValueTask DisposeAsync()
    {
        await StopAsync(_web, _akka, _actors, _journal);
        _identity.Dispose();
    }

    /// <summary>What <c>kill -9</c> does to a coordinator, as nearly as a process can do it to a part of itself: nobody is told anything.</summary>
    internal async Task CrashAsync()
    {
        var (system, _) = await _actors;
        await _web.StopAsync(new CancellationToken(canceled: true));
        await _web.DisposeAsync();
        ((ExtendedActorSystem)system).Abort();
        await system.WhenTerminated;
        _akka.Dispose();
        _journal.Close();
    }

    // Whoever submitted a run here learns how it ended even if that is no end but the coordinator's.
    private static async IAsyncEnumerable<RunEvent> ToEndAsync(RunSubmission submission, ChannelReader<RunEvent> events, [EnumeratorCancellation] CancellationToken cancellationToken = default)
    {
        await foreach (var happened in events.ReadAllAsync(cancellationToken))
        {
            yield return happened;
            if (happened is RunFinished or RunStopped or RunFailed)
                yield break;
        }
        yield return new RunFailed(submission.FirstStep, "The coordinator was shut down while the run was going on.", null, submission.ResumeFrom, ExitCode.Failure);
    }

    private static async IAsyncEnumerable<RunEvent> ToEndAsync(SubmitFederation submission, ChannelReader<RunEvent> events, [EnumeratorCancellation] CancellationToken cancellationToken = default)
    {
        var (round, model) = (0, submission.Federated.Initial.Sha256);
        await foreach (var happened in events.ReadAllAsync(cancellationToken))
        {
            yield return happened;
            if (happened is RoundCommitted committed)
                (round, model) = (committed.Round, committed.ModelSha256);
            if (RunWatching.Ends(happened))
                yield break;
        }
        yield return new FederationFailed(round, model, "The coordinator was shut down while the run was going on.", ExitCode.Failure);
    }

    // A coordinator that the others cannot reach is none; alone, it has nothing that could fail here.
    private static async Task JoinAsync(Task actors, CoordinatorOptions options)
    {
        try
        {
            await actors;
        }
        catch (Exception exception) when (exception is not OperationCanceledException)
        {
            throw new SoraException($"The coordinator cannot listen for the others on {options.ClusterListen}: {exception.GetBaseException().Message} Choose an address of this machine and a free port.", ExitCode.Usage, exception);
        }
    }

    private static async Task StopAsync(WebApplication web, IHost akka, Task<(ActorSystem System, IActorRef Pool)> actors, Journal journal)
    {
        // Workers' streams never end by themselves: the actors close them, so they go first.
        await ((Task)actors).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        await akka.StopAsync();
        akka.Dispose();
        await web.DisposeAsync();
        journal.Close();
    }

    private static async Task<(ActorSystem System, IActorRef Pool)> StartAkkaAsync(IHost akka, Task prepared, CancellationToken cancellationToken)
    {
        await prepared;
        // Made here, a system that cannot be made throws; made by the hosted service, it also writes to the console.
        var system = akka.Services.GetRequiredService<ActorSystem>();
        await akka.StartAsync(cancellationToken);
        return (system, akka.Services.GetRequiredService<IRequiredActor<WorkerPool>>().ActorRef);
    }

    private static IHost BuildAkka(CoordinatorOptions options, CorpusDirectory corpora, Journal journal, CoordinatorIdentity identity)
    {
        var builder = Host.CreateEmptyApplicationBuilder(null);
        UseOnly(builder.Services, options.LoggerFactory);
        if (options.ClusterListen.Length > 0)
            builder.Services.Configure<HostOptions>(host => host.ShutdownTimeout = HandOverLimit);
        builder.Services.AddAkka(AkkaConfiguration.SystemName, akka =>
        {
            akka.ConfigureCoordinator(options, journal);
            akka.ConfigureWorkers(corpora, options).ConfigureFederations(identity, options).ConfigureJobs(journal, options);
        });
        return builder.Build();
    }

    private static WebApplication BuildWeb(CoordinatorOptions options, IPEndPoint endpoint, CoordinatorToken token, CorpusDirectory corpora, Journal journal, CoordinatorIdentity identity, Task<(ActorSystem System, IActorRef Pool)> actors)
    {
        var builder = WebApplication.CreateEmptyBuilder(new WebApplicationOptions());
        UseOnly(builder.Services, options.LoggerFactory);
        builder.WebHost.UseSetting(WebHostDefaults.PreventHostingStartupKey, bool.TrueString);
        builder.WebHost.UseKestrelCore();
        builder.WebHost.ConfigureKestrel(kestrel => kestrel.Listen(endpoint, listen => listen.Protocols = HttpProtocols.Http2));
        builder.Services.AddRoutingCore();
        builder.Services.AddSingleton(options);
        builder.Services.AddSingleton(token);
        builder.Services.AddSingleton(corpora);
        builder.Services.AddSingleton(new CoordinatorActors(actors));
        builder.Services.AddSingleton(journal);
        builder.Services.AddSingleton(identity);
        builder.Services.AddSingleton<SiteTickets>();
        builder.Services.AddSingleton<WorkerGatewayService>();
        builder.Services.AddSingleton<RunGatewayService>();
        builder.Services.AddGrpc(grpc => grpc.Interceptors.Add<BearerTokenInterceptor>());
        var web = builder.Build();
        web.UseRouting();
        web.MapGrpcService<WorkerGatewayService>();
        web.MapGrpcService<RunGatewayService>();
        return web;
    }

    private static void UseOnly(IServiceCollection services, ILoggerFactory loggers)
    {
        services.Replace(ServiceDescriptor.Singleton<ILoggerFactory>(new FrameworkLoggers(loggers)));
        services.Replace(ServiceDescriptor.Singleton<IHostLifetime>(new NoConsoleLifetime()));
        services.Configure<HostOptions>(host => host.ShutdownTimeout = TimeSpan.FromSeconds(1.5));
    }

    // "All addresses" can be listened on but, on some systems, not dialled.
    private static string Dialable(Uri listening)
    {
        var address = IPAddress.Parse(listening.DnsSafeHost);
        if (address.Equals(IPAddress.Any))
            address = IPAddress.Loopback;
        else if (address.Equals(IPAddress.IPv6Any))
            address = IPAddress.IPv6Loopback;
        return $"http://{new IPEndPoint(address, listening.Port)}";
    }

    private static IPEndPoint ParseListenUrl(string url)
    {
        if (Uri.TryCreate(url, UriKind.Absolute, out var uri) && uri.Scheme == Uri.UriSchemeHttp && uri.AbsolutePath == "/")
        {
            if (IPAddress.TryParse(uri.DnsSafeHost, out var address))
                return new IPEndPoint(address, uri.Port);
            if (uri.IsLoopback)
                return new IPEndPoint(IPAddress.Loopback, uri.Port);
        }
        throw new SoraException($"'{url}' is not an address the coordinator can listen on. Write http://ADDRESS:PORT with an IP address of this machine, such as http://127.0.0.1:0 or http://0.0.0.0:5400.", ExitCode.Usage);
    }
}
