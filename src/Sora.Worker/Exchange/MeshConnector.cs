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
/// that comes in through the port is turned away and logged, and harms nobody.
/// </summary>
internal sealed partial class MeshConnector(ExchangeGroup group, ExchangeListener listener, TimeSpan timeout, TimeProvider time, ILogger logger)
{
    private static readonly TimeSpan GreetingTime = TimeSpan.FromSeconds(30);
    private static readonly TimeSpan RetryDelay = TimeSpan.FromMilliseconds(100);
    private readonly ExchangeIdentity _self = group.Identity;

    /// <exception cref="ExchangeBrokenException">A peer refuses, or cannot be reached in time.</exception>
    public async Task<IReadOnlyList<PeerConnection>> ConnectAsync(CancellationToken cancellationToken)
    {
        using var deadline = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        using var timer = time.CreateTimer(_ => deadline.Cancel(), null, timeout, Timeout.InfiniteTimeSpan);
        var connected = new PeerConnection?[group.Members.Count];
        List<Task> connecting = [AcceptAllAsync(connected, deadline.Token)];
        connecting.AddRange(Enumerable.Range(0, group.Rank).Select(rank => OnOwnThread(() => Dial(rank, connected, deadline.Token))));
        try
        {
            await foreach (var ended in Task.WhenEach(connecting))
                await ended;
            return [.. connected.OfType<PeerConnection>()];
        }
        catch (Exception e)
        {
            await deadline.CancelAsync();
            await Task.WhenAll(connecting).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            var missing = Enumerable.Range(0, connected.Length).Where(rank => rank != group.Rank && connected[rank] is null).Select(Describe).ToList();
            foreach (var peer in connected)
                peer?.Dispose();
            cancellationToken.ThrowIfCancellationRequested();
            if (e is OperationCanceledException)
                throw new ExchangeBrokenException($"Generation {_self.Generation} did not connect within {timeout.TotalSeconds:0} s; still missing: {string.Join(", ", missing)}.", e);
            if (e is HandshakeException or InvalidFrameException or SocketException or EndOfStreamException or FormatException)
                throw new ExchangeBrokenException($"Connecting generation {_self.Generation} failed: {e.Message}", e);
            throw;
        }
    }

    private void Dial(int rank, PeerConnection?[] connected, CancellationToken cancellationToken)
    {
        while (true)
        {
            foreach (var endpoint in group.Members[rank].Endpoints)
            {
                var address = ExchangeEndpoint.Parse(endpoint);
                var socket = ExchangeEndpoint.NewSocket(address);
                using var abort = cancellationToken.UnsafeRegister(static s => ((Socket)s!).Dispose(), socket);
                try
                {
                    socket.Connect(address);
                    Tune(socket);
                    Greet(socket, rank);
                    connected[rank] = new PeerConnection(socket, rank, $"{group.Members[rank].Worker} ({endpoint})");
                    return;
                }
                catch (Exception e)
                {
                    socket.Dispose();
                    cancellationToken.ThrowIfCancellationRequested();
                    if (e is not SocketException refused)
                        throw new HandshakeException($"{group.Members[rank].Worker} ({endpoint}): {e.Message}", e);
                    LogDialFailed(group.Members[rank].Worker, endpoint, refused.Message);
                }
            }
            cancellationToken.WaitHandle.WaitOne(RetryDelay);
            cancellationToken.ThrowIfCancellationRequested();
        }
    }

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

    private async Task AcceptAllAsync(PeerConnection?[] connected, CancellationToken cancellationToken)
    {
        var waitingFor = group.Members.Count - 1 - group.Rank;
        if (waitingFor == 0)
            return;
        var sockets = Channel.CreateUnbounded<Socket>();
        var arrived = new SemaphoreSlim(0);
        using var enough = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        var accepting = listener.AcceptAsync(sockets.Writer, enough.Token);
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
            sockets.Writer.Complete();
            await handshakes;
        }

        async Task HandshakeAllAsync()
        {
            var running = new List<Task>();
            await foreach (var socket in sockets.Reader.ReadAllAsync(CancellationToken.None))
            {
                running.Add(OnOwnThread(() =>
                {
                    var admitted = 0;
                    // Those who never finish their handshake go when the mesh is complete, or the time is up.
                    using (enough.Token.UnsafeRegister(static s => ((Socket)s!).Dispose(), socket))
                        admitted = Admit(socket, connected);
                    if (admitted > 0)
                        arrived.Release(admitted);
                }));
            }
            await Task.WhenAll(running);
        }
    }

    /// <returns>How many peers more are connected now.</returns>
    private int Admit(Socket socket, PeerConnection?[] connected)
    {
        try
        {
            Tune(socket);
            // A peer greets as soon as it is connected; who does not only holds a thread.
            socket.ReceiveTimeout = (int)GreetingTime.TotalMilliseconds;
            var handshake = new AcceptorHandshake(_self);
            try
            {
                SocketFrames.SendHandshake(socket, _self, ExchangePhase.Challenge, handshake.Challenge(Expect(socket, ExchangePhase.Greeting)));
                var rank = handshake.Accept(Expect(socket, ExchangePhase.Proof));
                if (rank < group.Rank)
                    throw new HandshakeException($"Rank {rank} is to be dialled by rank {group.Rank}, not the other way round.");
                SocketFrames.SendHandshake(socket, _self, ExchangePhase.Welcome, []);
                socket.ReceiveTimeout = 0;
                // A peer that dials again has given up its first connection.
                var before = Interlocked.Exchange(ref connected[rank], new PeerConnection(socket, rank, Describe(rank)));
                before?.Dispose();
                return before is null ? 1 : 0;
            }
            catch (HandshakeException e)
            {
                LogTurnedAway(e.Message);
                TryRefuse(socket, e.Message);
            }
        }
        catch (Exception e) when (e is SocketException or ObjectDisposedException or EndOfStreamException or InvalidFrameException)
        {
            LogTurnedAway(e.Message);
        }
        socket.Dispose();
        return 0;
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

    private string Describe(int rank) => $"{group.Members[rank].Worker} ({string.Join(" or ", group.Members[rank].Endpoints)})";

    [LoggerMessage(2100, LogLevel.Debug, "{Worker} cannot be reached at {Endpoint}: {Reason}")]
    private partial void LogDialFailed(string worker, string endpoint, string reason);

    [LoggerMessage(2101, LogLevel.Warning, "An exchange connection was turned away: {Reason}")]
    private partial void LogTurnedAway(string reason);
}
