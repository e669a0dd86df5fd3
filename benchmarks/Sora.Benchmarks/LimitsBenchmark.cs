using System.Diagnostics;
using System.Runtime.InteropServices;
using Google.Protobuf;
using Sora.Benchmarks.Processes;
using Sora.Protocol.Api;
using Sora.Protocol.Generations;
using Sora.Worker;
using Sora.Worker.Session;
using static System.FormattableString;

namespace Sora.Benchmarks;

/// <summary>How many workers a coordinator can have: what a generation of very many costs it, and what very many who have nothing to do.</summary>
internal static class LimitsBenchmark
{
    private const int Rounds = 5;

    public static async Task<int> RunAsync(string[] arguments)
    {
        var workers = arguments.Length > 0 ? int.Parse(arguments[0]) : 1_000;
        var sessions = arguments.Length > 1 ? int.Parse(arguments[1]) : 10_000;
        using var stop = new CancellationTokenSource();
        using var interrupt = PosixSignalRegistration.Create(PosixSignal.SIGINT, Stop);
        using var terminate = PosixSignalRegistration.Create(PosixSignal.SIGTERM, Stop);
        Generation(workers);
        try
        {
            await SessionsAsync(sessions, stop.Token);
            return 0;
        }
        catch (OperationCanceledException) when (stop.IsCancellationRequested)
        {
            return 130;
        }

        void Stop(PosixSignalContext context)
        {
            context.Cancel = true;
            stop.Cancel();
        }
    }

    /// <summary>The real state machine and simulated workers. What it tells them is also written as it goes over the wire.</summary>
    private static void Generation(int count)
    {
        Console.WriteLine(Invariant($"a generation of {count} simulated workers, {Rounds} times, one thread"));
        Console.WriteLine("| round | the last worker has proved itself: all have joined, CPU s | all arrive and prove themselves, CPU s | MB written to workers |");
        Console.WriteLine("|---|---|---|---|");
        for (var round = 1; round <= Rounds; round++)
        {
            var state = CoordinatorState.Empty;
            var (secret, bytes) = (0L, 0L);
            void Happen(CoordinatorEvent happened)
            {
                (state, var effects) = CoordinatorProtocol.Decide(state, happened);
                foreach (var effect in effects)
                {
                    if (effect is TellWorker tell)
                        bytes += tell.Message.ToByteArray().Length;
                    else if (effect is DrawSecret draw)
                        secret = draw.Generation;
                }
            }

            var names = Enumerable.Range(0, count).Select(index => $"worker-{index}").ToArray();
            var before = Cpu();
            Happen(new RunSubmitted(new RunSpec { Run = "run", Workers = count, StartWorkers = count, Lanes = count, MaxSteps = 10, OutputDir = "/output" }));
            foreach (var name in names)
                Happen(new WorkerArrived(new Hello { Worker = name, Host = name, ProcessId = 7, Device = "cpu", Numerics = "the same", ProtocolVersion = WorkerProtocol.Version, Incarnation = "first" }));
            foreach (var name in names.SkipLast(1))
                Prove(name);
            var ready = Cpu();
            Prove(names[^1]);
            Happen(new SecretDrawn(secret, ByteString.CopyFrom(new byte[32])));
            foreach (var name in names)
                Happen(new WorkerSaid(name, new FromWorker { Ready = new Ready { Run = "run", Generation = (ulong)secret, Step = 0 } }));
            var joined = Cpu();
            if (state.Phase != RunPhase.Running)
                throw new InvalidOperationException($"The run is {state.Phase}.");
            Console.WriteLine(Invariant($"| {round} | {joined - ready:0.000} | {ready - before:0.000} | {bytes / 1e6:0.0} |"));

            void Prove(string name) =>
                Happen(new WorkerSaid(name, new FromWorker { Canary = new CanaryResult { Run = "run", Sha256 = "same", Endpoints = { $"tcp:10.0.0.1:{name[7..]}", $"unix:/tmp/{name}/exchange" } } }));
        }
        Console.WriteLine();
    }

    /// <summary>
    /// A coordinator as a process, and in this one the connections of as many workers, each its own, with what a worker without
    /// work says. As a worker does, one that is put out dials again.
    /// </summary>
    private static async Task SessionsAsync(int count, CancellationToken cancellationToken)
    {
        SoraProgram.Build();
        var folder = Directory.CreateTempSubdirectory("sora-limits-").FullName;
        using var over = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        var sessions = Enumerable.Range(0, count).Select(index => new IdleSession(index)).ToArray();
        var living = new List<Task>();
        try
        {
            var address = $"http://127.0.0.1:{Ports.Free()}";
            var tokenFile = Path.Combine(folder, "token");
            File.WriteAllText(tokenFile, "limits");
            var listening = new TaskCompletionSource();
            using var coordinator = SoraProgram.Start(Path.Combine(folder, "log"), _ => listening.TrySetResult(), ["coordinator", "start", "--state", folder, "--listen", address, "--token-file", tokenFile]);
            await listening.Task.WaitAsync(TimeSpan.FromMinutes(1), cancellationToken);

            var started = coordinator.CpuSeconds;
            // From the first on: who is silent is put out, and letting all in takes longer than that.
            living.Add(BeatAsync(sessions, over.Token));
            var options = new WorkerOptions { Coordinators = [new Uri(address)], Token = "limits" };
            foreach (var session in sessions)
            {
                living.Add(session.LiveAsync(options, over.Token));
                await session.IsIn.WaitAsync(cancellationToken);
            }
            while (!sessions.All(session => session.IsOpen))
                await Task.Delay(TimeSpan.FromSeconds(1), cancellationToken);
            await Task.Delay(TimeSpan.FromSeconds(15), cancellationToken);
            var (cpu, time, before) = (coordinator.CpuSeconds, Stopwatch.GetTimestamp(), sessions.Sum(session => session.Losses));
            await Task.Delay(TimeSpan.FromSeconds(30), cancellationToken);
            var cores = (coordinator.CpuSeconds - cpu) / Stopwatch.GetElapsedTime(time).TotalSeconds;
            var memory = File.ReadLines($"/proc/{coordinator.Id}/status").First(line => line.StartsWith("VmRSS:", StringComparison.Ordinal))[6..].Trim();
            Console.WriteLine("| sessions without work, a heartbeat a second each | |");
            Console.WriteLine("|---|---|");
            Console.WriteLine(Invariant($"| open at the end of 30 s | {sessions.Count(session => session.IsOpen)} of {count} |"));
            Console.WriteLine(Invariant($"| lost in these 30 s | {sessions.Sum(session => session.Losses) - before} |"));
            Console.WriteLine(Invariant($"| cores the coordinator takes | {cores:0.00} |"));
            Console.WriteLine(Invariant($"| CPU to let them all in, of which {before} twice | {cpu - started:0.0} s |"));
            Console.WriteLine($"| its memory | {memory} |");
        }
        finally
        {
            await over.CancelAsync();
            await Task.WhenAll(living).WaitAsync(TimeSpan.FromSeconds(20), CancellationToken.None).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            Directory.Delete(folder, recursive: true);
        }
    }

    // Workers were not started at the same moment: their beats are spread over the second.
    private static async Task BeatAsync(IdleSession[] sessions, CancellationToken cancellationToken)
    {
        const int parts = 20;
        using var timer = new PeriodicTimer(TimeSpan.FromSeconds(1.0 / parts));
        for (var part = 0; await timer.WaitForNextTickAsync(cancellationToken); part = (part + 1) % parts)
        {
            for (var index = part; index < sessions.Length; index += parts)
                sessions[index].Beat();
        }
    }

    /// <summary>What a worker without work is to its coordinator.</summary>
    private sealed class IdleSession(int index)
    {
        private readonly TaskCompletionSource _isIn = new(TaskCreationOptions.RunContinuationsAsynchronously);
        private volatile ICoordinatorStream? _stream;

        public Task IsIn => _isIn.Task;

        public bool IsOpen => _stream is not null;

        public int Losses { get; private set; }

        public void Beat() => _stream?.Send(new FromWorker { Heartbeat = new Heartbeat() });

        public async Task LiveAsync(WorkerOptions options, CancellationToken cancellationToken)
        {
            while (!cancellationToken.IsCancellationRequested)
            {
                try
                {
                    await using var stream = await new CoordinatorDialer(options.Coordinators, options.Token, options.ConnectTimeout, options.Time).DialAsync(0, cancellationToken);
                    stream.Send(new FromWorker { Hello = new Hello { Worker = $"worker-{index}", Host = $"host-{index}", ProcessId = 7, Device = "cpu", Numerics = "the same", ProtocolVersion = WorkerProtocol.Version, Incarnation = $"{index}" } });
                    _stream = stream;
                    _isIn.TrySetResult();
                    await foreach (var _ in stream.ReceiveAsync(cancellationToken))
                    {
                        // A worker without work is told nothing that it must answer.
                    }
                }
                catch (Exception e) when (e is CoordinatorLostException or OperationCanceledException)
                {
                    // Out, or over.
                }
                _stream = null;
                if (!cancellationToken.IsCancellationRequested)
                    Losses++;
            }
        }
    }

    private static double Cpu() => Environment.CpuUsage.TotalTime.TotalSeconds;
}
