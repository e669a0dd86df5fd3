using Microsoft.Extensions.Logging;
using Sora.Protocol.Api;

namespace Sora.Worker.Session;

/// <summary>What a <see cref="CoordinatorLink"/> tells. Always in the order in which it happened, never two at a time.</summary>
internal interface ILinkOwner
{
    /// <summary>How long to look for a coordinator before giving up.</summary>
    TimeSpan Patience { get; }

    /// <summary>A stream is open.</summary>
    void Linked(ICoordinatorStream stream);

    /// <summary>That stream is no longer.</summary>
    void Unlinked(string reason);

    /// <summary>What the coordinator says.</summary>
    /// <returns>Whether it is one to come back to soon: otherwise breaks make the pauses between dials longer, as silence does.</returns>
    bool Heard(FromCoordinator message);

    /// <summary>A coordinator does not want this process, whoever else is asked: the last that is told.</summary>
    void TurnedAway(string reason);

    /// <summary>There is no coordinator to be had any more: the last that is told.</summary>
    void GaveUp(string reason);
}

/// <summary>Keeps a stream to one of the coordinators open: whenever it breaks, the next one of the list is dialled, and after each round there is a pause.</summary>
internal sealed partial class CoordinatorLink(ICoordinatorDialer dialer, ILinkOwner owner, Random random, TimeProvider time, ILogger log)
{
    private readonly Backoff _pause = new(random);
    private long _without = time.GetTimestamp();
    private string _reason = "";

    /// <summary>Runs until there is no coordinator to be had, one refuses, or it is told to end.</summary>
    /// <param name="ending">A stream that is open goes on, but no other is opened.</param>
    /// <param name="ended">Everything ends.</param>
    public async Task RunAsync(CancellationToken ending, CancellationToken ended)
    {
        try
        {
            for (var dial = 1; !ending.IsCancellationRequested; dial++)
            {
                if (await TryAsync((dial - 1) % dialer.Coordinators.Count, ending, ended) is { } refusal)
                {
                    owner.TurnedAway(refusal);
                    return;
                }
                var patience = owner.Patience;
                if (time.GetElapsedTime(_without) >= patience)
                {
                    owner.GaveUp($"no coordinator answered at {string.Join(" or ", dialer.Coordinators)} within {patience.TotalSeconds:0} s ({_reason}). Is it running, and is the address right?");
                    return;
                }
                if (dial % dialer.Coordinators.Count == 0)
                    await Task.Delay(_pause.Next(), time, ending);
            }
        }
        catch (OperationCanceledException) when (ending.IsCancellationRequested || ended.IsCancellationRequested)
        {
            // The session is over.
        }
    }

    /// <returns>Why the coordinator does not want this worker; null: it may be tried again.</returns>
    private async Task<string?> TryAsync(int coordinator, CancellationToken ending, CancellationToken ended)
    {
        var linked = false;
        try
        {
            await using var stream = await dialer.DialAsync(coordinator, ending);
            linked = true;
            owner.Linked(stream);
            await foreach (var message in stream.ReceiveAsync(ended))
            {
                // Only who talks is there: something that accepts and closes again shall not be dialled without a pause.
                if (owner.Heard(message))
                    _pause.Reset();
            }
            _reason = "it closed the stream";
        }
        catch (CoordinatorLostException e) when (e.Refused)
        {
            return e.Message;
        }
        catch (CoordinatorLostException e)
        {
            _reason = e.Message.TrimEnd('.');
        }
        catch (Exception e) when (e is not OperationCanceledException || !(ending.IsCancellationRequested || ended.IsCancellationRequested))
        {
            LogUnexpected(e);
            _reason = $"unexpected {e.GetType().Name}: {e.Message}";
        }
        if (linked)
        {
            _without = time.GetTimestamp();
            if (!ending.IsCancellationRequested)
                LogBroken(dialer.Coordinators[coordinator], _reason);
            owner.Unlinked(_reason);
        }
        else
        {
            LogNoAnswer(dialer.Coordinators[coordinator], _reason);
        }
        return null;
    }

    [LoggerMessage(2020, LogLevel.Warning, "The stream to {Coordinator} is gone: {Reason}")]
    private partial void LogBroken(string coordinator, string reason);

    [LoggerMessage(2021, LogLevel.Debug, "{Coordinator} does not answer: {Reason}")]
    private partial void LogNoAnswer(string coordinator, string reason);

    [LoggerMessage(2022, LogLevel.Error, "Unexpected error")]
    private partial void LogUnexpected(Exception exception);
}
