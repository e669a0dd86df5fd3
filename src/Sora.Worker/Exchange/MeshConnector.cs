using System.Net.Sockets;
using System.Text;
using System.Threading.Channels;
using Microsoft.Extensions.Logging;
using Sora.Protocol.Exchange;
using Sora.Protocol.Wire;

namespace Sora.Worker.Exchange;

/// <summary>
/// Connects the workers of a generation pairwise: each dials the ranks below its own and accepts the ranks above. Only a
/// connection whose two ends have proved that they know the generation's secret becomes part of the mesh; anything else
/// that comes in through the port is turned away and logged, and harms nobody. Generations follow each other over one
/// listener: who dials for a later one waits until this worker is there too. A connection that stood and is lost again ends
/// the connecting at once, because its peer will not come back in this generation.
/// </summary>
internal sealed partial class MeshConnector(
    ExchangeGroup group, ExchangeListener listener, MeshPeers peers, IFrameSink inbox, TimeSpan timeout, TimeProvider time, ILogger logger)
{
    private static readonly TimeSpan GreetingTime = TimeSpan.FromSeconds(30);
    private static readonly TimeSpan RetryDelay = TimeSpan.FromMilliseconds(100);
    private static readonly TimeSpan KnockInterval = TimeSpan.FromSeconds(1);
    // A worker listens before it is announced and until it ends: one whose system says that nobody listens has ended.
    private static readonly TimeSpan RefusalPatience = TimeSpan.FromSeconds(2);
    private readonly ExchangeIdentity _self = group.Identity;

    /// <exception cref="ExchangeBrokenException">A peer refuses, is gone, or cannot be reached in time.</exception>
    public async Task ConnectAsync(CancellationToken cancellationToken)
    {
        using var end = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken, peers.Troubled);
        using var timer = time.CreateTimer(_ => end.Cancel(), null, timeout, Timeout.InfiniteTimeSpan);
        var accepting = AcceptAllAsync(end.Token);
        List<Task> connecting = [accepting];
        if (group.Rank == 0)
            connecting.Add(KnockAsync(accepting, end.Token));
        connecting.AddRange(Enumerable.Range(0, group.Rank).Select(rank => OnOwnThread(() => Dial(rank, end.Token))));
        try
        {
            await foreach (var ended in Task.WhenEach(connecting))
                await ended;
        }
        catch (Exception e)
        {
            await end.CancelAsync();
            await Task.WhenAll(connecting).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            cancellationToken.ThrowIfCancellationRequested();
            if (e is OperationCanceledException)
                throw peers.CannotConnect(e);
            throw;
        }
    }

    private void Dial(int rank, CancellationToken cancellationToken)
    {
        var member = group.Members[rank];
        long? refusedSince = null;
        while (true)
        {
            var refusals = 0;
            foreach (var endpoint in member.Endpoints)
            {
                try
                {
                    var address = ExchangeEndpoint.Parse(endpoint);
                    var socket = ExchangeEndpoint.NewSocket(address);
                    using var abort = cancellationToken.UnsafeRegister(static s => ((Socket)s!).Dispose(), socket);
                    try
                    {
                        socket.Connect(address);
                        Tune(socket);
                        Greet(socket, rank);
                    }
                    catch
                    {
                        socket.Dispose();
                        throw;
                    }
                    if (!peers.TryAdd(rank, socket, endpoint, inbox))
                        socket.Dispose();
                    return;
                }
                catch (Exception e)
                {
                    cancellationToken.ThrowIfCancellationRequested();
                    if (e is HandshakeException or InvalidFrameException or FormatException)
                        throw new ExchangeBrokenException($"Connecting generation {_self.Generation} failed: {member.Worker} ({endpoint}): {e.Message}", [member.Worker], e);
                    // It may not be there yet, or may have stopped accepting for an older generation just now.
                    if (e is not (SocketException or EndOfStreamException))
                        throw;
                    refusals += IsRefusal(e) ? 1 : 0;
                    LogDialFailed(member.Worker, endpoint, e.Message);
                }
            }
            CheckRefused(member, refusals, ref refusedSince);
            cancellationToken.WaitHandle.WaitOne(RetryDelay);
            cancellationToken.ThrowIfCancellationRequested();
        }
    }

    /// <summary>
    /// Looks whether those who are to dial still live. Who is dialled is looked after by the dialers, and whoever loses rank 0
    /// learns the reason from it: it is enough that rank 0 looks.
    /// </summary>
    private async Task KnockAsync(Task accepting, CancellationToken cancellationToken)
    {
        var refusedSince = new long?[group.Members.Count];
        while (await Task.WhenAny(accepting, Task.Delay(KnockInterval, time, cancellationToken)) != accepting)
        {
            foreach (var rank in peers.Unconnected())
            {
                var refusals = 0;
                foreach (var endpoint in group.Members[rank].Endpoints)
                    refusals += await IsRefusedAsync(endpoint, cancellationToken) ? 1 : 0;
                CheckRefused(group.Members[rank], refusals, ref refusedSince[rank]);
            }
        }
    }

    private async Task<bool> IsRefusedAsync(string endpoint, CancellationToken cancellationToken)
    {
        var address = ExchangeEndpoint.Parse(endpoint);
        using var socket = ExchangeEndpoint.NewSocket(address);
        using var limit = new CancellationTokenSource(KnockInterval, time);
        using var either = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken, limit.Token);
        try
        {
            await socket.ConnectAsync(address, either.Token);
            return false;
        }
        catch (OperationCanceledException) when (!cancellationToken.IsCancellationRequested)
        {
            return false;
        }
        catch (SocketException e)
        {
            return IsRefusal(e);
        }
    }

    private void CheckRefused(ExchangeMember member, int refusals, ref long? since)
    {
        if (refusals < member.Endpoints.Count)
            since = null;
        else if (since is null)
            since = time.GetTimestamp();
        else if (time.GetElapsedTime(since.Value) >= RefusalPatience)
            throw new ExchangeBrokenException($"Connecting generation {_self.Generation} failed: nobody listens at {string.Join(" or ", member.Endpoints)} any more: {member.Worker} has ended.", [member.Worker]);
    }

    // Of a Unix domain socket whose process ended in good order not even the file is left.
    private static bool IsRefusal(Exception e) => e is SocketException { SocketErrorCode: SocketError.ConnectionRefused or SocketError.AddressNotAvailable };

    private void Greet(Socket socket, int rank)
    {
        var handshake = new DialerHandshake(_self, rank);
        SocketFrames.SendHandshake(socket, _self, ExchangePhase.Greeting, handshake.Greeting());
        // Outside the try: who was refused must not answer, the other end is already closing.
        var challenge = Expect(socket, ExchangePhase.Challenge);
        byte[] proof;
        try
        {
            proof = handshake.Answer(challenge);
        }
        catch (HandshakeException e)
        {
            TryRefuse(socket, e.Message);
            throw;
        }
        SocketFrames.SendHandshake(socket, _self, ExchangePhase.Proof, proof);
        Expect(socket, ExchangePhase.Welcome);
    }

    private async Task AcceptAllAsync(CancellationToken cancellationToken)
    {
        var waitingFor = group.Members.Count - 1 - group.Rank;
        if (waitingFor == 0)
            return;
        var dialled = Channel.CreateUnbounded<Incoming>();
        var arrived = new SemaphoreSlim(0);
        using var enough = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        var accepting = listener.AcceptAsync(dialled.Writer, enough.Token);
        var handshakes = HandshakeAllAsync();
        try
        {
            for (var i = 0; i < waitingFor; i++)
                await arrived.WaitAsync(cancellationToken);
        }
        finally
        {
            await enough.CancelAsync();
            await accepting;
            dialled.Writer.Complete();
            await handshakes;
        }

        async Task HandshakeAllAsync()
        {
            var running = new List<Task>();
            await foreach (var incoming in dialled.Reader.ReadAllAsync(CancellationToken.None))
            {
                if (enough.IsCancellationRequested)
                    listener.KeepForLater(incoming);
                else
                    running.Add(OnOwnThread(() => Handshake(incoming)));
            }
            await Task.WhenAll(running);
        }

        void Handshake(Incoming incoming)
        {
            bool admitted;
            // Those who never finish their handshake go when the mesh is complete, or the time is up.
            using (enough.Token.UnsafeRegister(static s => ((Socket)s!).Dispose(), incoming.Socket))
                admitted = Admit(incoming);
            if (admitted)
                arrived.Release();
        }
    }

    /// <returns>Whether one peer more is connected now.</returns>
    private bool Admit(Incoming incoming)
    {
        var socket = incoming.Socket;
        var greeted = false;
        try
        {
            Tune(socket);
            // A peer greets as soon as it is connected; who does not only holds a thread.
            socket.ReceiveTimeout = (int)GreetingTime.TotalMilliseconds;
            try
            {
                var handshake = new AcceptorHandshake(_self);
                var greeting = incoming.Greeting ?? Expect(socket, ExchangePhase.Greeting);
                greeted = true;
                if (handshake.IsEarly(greeting))
                {
                    LogEarly(_self.Generation);
                    listener.KeepForLater(new Incoming(socket, greeting));
                    return false;
                }
                SocketFrames.SendHandshake(socket, _self, ExchangePhase.Challenge, handshake.Challenge(greeting));
                var rank = handshake.Accept(Expect(socket, ExchangePhase.Proof));
                if (rank < group.Rank)
                    throw new HandshakeException($"Rank {rank} is to be dialled by rank {group.Rank}, not the other way round.");
                SocketFrames.SendHandshake(socket, _self, ExchangePhase.Welcome, []);
                socket.ReceiveTimeout = 0;
                // Who dials again has lost its first connection; that is noticed there, and ends this generation.
                if (peers.TryAdd(rank, socket, string.Join(" or ", group.Members[rank].Endpoints), inbox))
                    return true;
                LogTurnedAway($"{peers.Describe(rank)} is connected already");
            }
            catch (HandshakeException e)
            {
                LogTurnedAway(e.Message);
                TryRefuse(socket, e.Message);
            }
        }
        catch (Exception e) when (e is SocketException or ObjectDisposedException or EndOfStreamException or InvalidFrameException)
        {
            // Rank 0 of a generation knocks and goes again.
            if (greeted || e is not EndOfStreamException)
                LogTurnedAway(e.Message);
        }
        socket.Dispose();
        return false;
    }

    // A courtesy: the reason for refusing stands, whether or not the other end is still there to hear it.
    private void TryRefuse(Socket socket, string reason)
    {
        try
        {
            SocketFrames.SendHandshake(socket, _self, ExchangePhase.Refusal, Encoding.UTF8.GetBytes(reason));
        }
        catch (SocketException e)
        {
            LogTurnedAway($"{reason} (the other end had gone: {e.Message})");
        }
    }

    private static byte[] Expect(Socket socket, ExchangePhase expected)
    {
        var (phase, payload) = SocketFrames.ReceiveHandshake(socket);
        if (phase == ExchangePhase.Refusal)
            throw new HandshakeException("The other end refused: " + Encoding.UTF8.GetString(payload));
        return phase == expected ? payload : throw new InvalidFrameException($"A {phase} came where a {expected} belongs.");
    }

    private static void Tune(Socket socket)
    {
        if (socket.AddressFamily == AddressFamily.Unix)
        {
            // Room for a whole frame, as far as the system grants it: sender and receiver wake each other less often.
            socket.SendBufferSize = MeshExchange.FrameLength * sizeof(float);
            return;
        }
        socket.NoDelay = true;
        // A peer whose host vanishes without a word is noticed even while this worker has nothing to send.
        socket.SetSocketOption(SocketOptionLevel.Socket, SocketOptionName.KeepAlive, true);
        socket.SetSocketOption(SocketOptionLevel.Tcp, SocketOptionName.TcpKeepAliveTime, 30);
        socket.SetSocketOption(SocketOptionLevel.Tcp, SocketOptionName.TcpKeepAliveInterval, 10);
        socket.SetSocketOption(SocketOptionLevel.Tcp, SocketOptionName.TcpKeepAliveRetryCount, 3);
    }

    // Handshakes block; on the thread pool a few of them would starve everything else in the process.
    private static Task OnOwnThread(Action action) =>
        Task.Factory.StartNew(action, CancellationToken.None, TaskCreationOptions.LongRunning, TaskScheduler.Default);

    [LoggerMessage(2100, LogLevel.Debug, "{Worker} cannot be reached at {Endpoint}: {Reason}")]
    private partial void LogDialFailed(string worker, string endpoint, string reason);

    [LoggerMessage(2101, LogLevel.Warning, "An exchange connection was turned away: {Reason}")]
    private partial void LogTurnedAway(string reason);

    [LoggerMessage(2102, LogLevel.Debug, "A peer of a later generation has dialled while this worker connects generation {Generation}: it waits.")]
    private partial void LogEarly(long generation);
}
