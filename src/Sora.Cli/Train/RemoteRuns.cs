using Grpc.Net.Client;
using Sora.Coordinator;
using Sora.Protocol.Api;

namespace Sora.Cli.Train;

/// <summary>
/// Runs on coordinators of their own. Which run an output folder belongs to is kept in it, so that the same command follows a
/// run that is going on instead of submitting it twice.
/// </summary>
internal sealed class RemoteRuns : IDisposable
{
    private const string RunFile = "run";

    private readonly List<GrpcChannel> _channels;
    private readonly RunClient _client;
    private readonly string _runFile;

    public RemoteRuns(IReadOnlyList<Uri> coordinators, string token, string outputFolder)
    {
        _channels = [.. coordinators.Select(address => GrpcChannel.ForAddress(address, new GrpcChannelOptions { HttpHandler = Handler(), DisposeHttpClient = true }))];
        _client = new RunClient([.. _channels.Select(channel => channel.CreateCallInvoker())], token) { Addresses = [.. coordinators.Select(address => address.GetLeftPart(UriPartial.Authority))] };
        _runFile = Path.Combine(outputFolder, RunFile);
    }

    /// <summary>The id of the run that is going on for the output folder; null when none is.</summary>
    public async Task<string?> FindGoingOnAsync(CancellationToken cancellationToken)
    {
        if (!File.Exists(_runFile)) return null;
        var run = (await File.ReadAllTextAsync(_runFile, cancellationToken)).Trim();
        var runs = await _client.ListAsync(cancellationToken);
        return runs.Any(known => known.Run == run && known.State is not ("finished" or "stopped" or "failed")) ? run : null;
    }

    /// <summary>Submits a run and follows it.</summary>
    public async Task<FollowedRun> SubmitAsync(RunSubmission submission, CancellationToken cancellationToken)
    {
        await File.WriteAllTextAsync(_runFile, submission.Run + "\n", cancellationToken);
        await _client.SubmitAsync(
            new SubmitRunRequest
            {
                Run = submission.Run,
                JobJson = submission.JobJson,
                CorpusHash = submission.CorpusHash,
                CorpusDir = submission.CorpusDir,
                OutputDir = submission.OutputDir,
                ResumeFrom = submission.ResumeFrom ?? "",
                FirstStep = submission.FirstStep,
                Workers = (uint)submission.Workers,
                StartWorkers = (uint)(submission.StartWorkers ?? submission.Workers),
                MinWorkers = (uint)submission.MinWorkers,
                ExpectedCanary = submission.ExpectedCanary ?? "",
                ExpectedFingerprint = submission.ExpectedFingerprint ?? "",
                Parameters = submission.Parameters,
                Device = submission.Device ?? "",
            },
            cancellationToken);
        return Follow(submission.Run, -1);
    }

    /// <summary>Follows a run from a step on.</summary>
    public FollowedRun Follow(string run, long from) =>
        new(_client.WatchAsync(run, from), reason => _client.StopAsync(run, reason, CancellationToken.None));

    public void Dispose()
    {
        foreach (var channel in _channels) channel.Dispose();
    }

    // Pings tell a coordinator that vanished without a word from one that has nothing to say.
    private static SocketsHttpHandler Handler() => new()
    {
        KeepAlivePingDelay = TimeSpan.FromSeconds(10),
        KeepAlivePingTimeout = TimeSpan.FromSeconds(10),
        PooledConnectionIdleTimeout = Timeout.InfiniteTimeSpan,
        UseProxy = false,
    };
}
