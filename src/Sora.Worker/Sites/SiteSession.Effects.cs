using Microsoft.Extensions.Logging;
using Sora.Federation.Audit;
using Sora.Federation.Policies;
using Sora.Federation.Privacy;
using Sora.Federation.Rounds;
using Sora.Protocol.Jobs;
using Sora.Worker.Session;

namespace Sora.Worker.Sites;

// What the state machine says is to be done.
internal sealed partial class SiteSession
{
    private static readonly TimeSpan RetryInterval = TimeSpan.FromSeconds(10);

    private RoundJudge? _judge;
    private ModelCache? _models;
    private Func<ILocalTraining>? _openTraining;
    // Only the training thread touches it.
    private ILocalTraining? _training;
    private (RoundKey Round, CancellationTokenSource Stop)? _atWork;
    private (UpdateId Update, AdmittedConnection On, Task Done)? _sending;
    private int _retry;

    /// <summary>Frees what training holds, on its thread.</summary>
    public void DisposeTraining() => _training?.Dispose();

    private void Do(RoundSiteEffect effect)
    {
        switch (effect)
        {
            case JournalSite journal: Record(journal.Decision); break;
            case TellCoordinator tell: Tell(tell.Message); break;
            case AskPolicy ask: Ask(ask.Round); break;
            case TrainLocally train: Train(train.Round); break;
            case StopTraining stop: Stop(stop.Round); break;
            case SendUpdate send: Send(send.Offer, send.NextChunk); break;
            case AnswerStage answer: Post(() => Handle(new LocalRoundFailed(answer.Round, "this release does not answer the stages of secure rounds"))); break;
            case EvaluateLocally evaluate: Start(() => EvaluateAsync(evaluate.Model)); break;
            case ForgetUpdate forget: PreparedUpdate.Forget(_run!.Updates, forget.Round); break;
            case StartRetry: Start(RetryAsync); break;
            case LeaveFederation leave: Leave(leave); break;
        }
    }

    private void Record(RoundSiteDecision decision)
    {
        _run!.Journal.Append(new SiteDecided(decision));
        if (decision is UpdateReady ready)
            _run.Privacy.Use(ready.Offer.Id.Round);
    }

    private void Tell(FromSite message)
    {
        if (_outlet.Say(message) is { } type)
            LogWithheld(message.GetType().Name, type);
    }

    private void Ask(RoundAnnounced round)
    {
        // What its owner has changed counts from here on.
        _policies.Reload();
        var ruling = round.Secure
            ? new RoundRuling(null, ["this release takes no part in secure rounds: the messages of their stages are not sent yet"], ForJob: true)
            : _words is null ? new RoundRuling(null, ["the coordinator went before it was asked for"], ForJob: false)
            : _judge!.Judge(round, _words.Coordinator, _run!.UpdatesBesides(round.Round));
        if (ruling.Request is { } request)
            _audit.Append(new RoundAsked(request));
        _audit.Append(new RoundDecided(_run!.Job, round.Round.Round, ruling.IsAllowed, ruling.Broken));
        if (!ruling.IsAllowed)
            LogForbidden(round.Round.ToString(), ruling.Refusal);
        Post(() => Handle(new PolicyDecided(round.Round, ruling.Refusal, ruling.ForJob)));
    }

    private void Train(RoundAnnounced round)
    {
        var stop = CancellationTokenSource.CreateLinkedTokenSource(_ended.Token);
        _atWork = (round.Round, stop);
        Start(() => TrainAsync(round, stop.Token));
    }

    private void Stop(RoundKey round)
    {
        if (_atWork is { } work && work.Round == round)
            work.Stop.Cancel();
    }

    private async Task<RoundSiteEvent?> TrainAsync(RoundAnnounced round, CancellationToken cancellationToken)
    {
        var run = _run!;
        float[] model;
        try
        {
            model = await _models!.ReadAsync(round.Model, cancellationToken);
            run.Privacy.Reserve(round.Round);
        }
        catch (OperationCanceledException) when (cancellationToken.IsCancellationRequested)
        {
            return null;
        }
        catch (Exception e) when (e is ModelException or BudgetExhaustedException)
        {
            return Failed(round.Round, e.Message);
        }
        if (run.Privacy.SpentOnRun is { } spent)
            _audit.Append(new PrivacySpent(run.Job, round.Round.Round, spent.Epsilon, spent.Delta));
        try
        {
            return new LocalRoundTrained(await ComputeAsync(run, round, model, cancellationToken));
        }
        catch (OperationCanceledException) when (cancellationToken.IsCancellationRequested)
        {
            run.Privacy.Return(round.Round);
            return null;
        }
        catch (SoraException e)
        {
            run.Privacy.Return(round.Round);
            return Failed(round.Round, e.Message);
        }
        catch (Exception e)
        {
            LogUnexpected(e);
            run.Privacy.Return(round.Round);
            // Of what nobody foresaw only the kind leaves: its text may hold anything.
            return Failed(round.Round, $"unexpected {e.GetType().Name} in local training");
        }
    }

    private async Task<UpdateOffer> ComputeAsync(SiteRun run, RoundAnnounced round, float[] model, CancellationToken cancellationToken)
    {
        var (update, loss) = await _thread.RunAsync(() =>
        {
            cancellationToken.ThrowIfCancellationRequested();
            _training ??= _openTraining!();
            var trained = _training.Train(round, model, run.Assignment.Run.Settings, cancellationToken);
            return (trained, _policies.Releasable(trained.Loss, _training.Examples));
        });
        cancellationToken.ThrowIfCancellationRequested();
        if (update.Values.Length != model.Length || !(update.Weight > 0 && double.IsFinite(update.Weight)))
            throw new SoraException($"Local training gave {update.Values.Length} values of weight {update.Weight} for a model of {model.Length} parameters.", ExitCode.Failure);
        return await Task.Run(() => PreparedUpdate.Write(run.Updates, run.Assignment, round, run.Privacy.Protect(update), loss), CancellationToken.None);
    }

    private LocalRoundFailed Failed(RoundKey round, string reason)
    {
        LogFailed(round.ToString(), reason);
        return new LocalRoundFailed(round, reason);
    }

    private void Send(UpdateOffer offer, int nextChunk)
    {
        if (_connection.Current is not { } connection || (_sending is { Done.IsCompleted: false } sending && sending.Update == offer.Id && sending.On == connection))
            return;
        if (!_outlet.MaySend(offer))
        {
            LogWithheld(nameof(SendUpdate), SiteMessages.Update);
            return;
        }
        _sending = (offer.Id, connection, Start(() => SendAsync(connection, offer, nextChunk)));
    }

    private async Task<RoundSiteEvent?> SendAsync(AdmittedConnection connection, UpdateOffer offer, int nextChunk)
    {
        try
        {
            var update = await Task.Run(() => PreparedUpdate.Open(_run!.Updates, offer), _ended.Token);
            if (await UpdateSender.SendAsync(connection, update, nextChunk, _ended.Token) is { } reason)
                LogNotStored(offer.Id.Round.ToString(), reason);
            return null;
        }
        catch (CoordinatorLostException e)
        {
            // It is offered again, and goes on where it broke off.
            LogNotStored(offer.Id.Round.ToString(), e.Message);
            return null;
        }
        catch (SoraException e)
        {
            return Failed(offer.Id.Round, e.Message);
        }
    }

    private async Task<RoundSiteEvent?> EvaluateAsync(ModelVersion version)
    {
        // Nobody shall wait for what does not come.
        var nothing = new LocalEvaluationDone(version.Number, double.NaN, Examples: 0);
        if (!_policies.MayLeave(SiteMessages.Metrics))
        {
            LogNotEvaluated(version.Number, $"the policy lets no messages of type '{SiteMessages.Metrics}' leave");
            return nothing;
        }
        try
        {
            var model = await _models!.ReadAsync(version, _ended.Token);
            return await _thread.RunAsync<RoundSiteEvent?>(() =>
            {
                _training ??= _openTraining!();
                // Whether the metric may leave is known before the data is looked at.
                if (_training.HeldOutExamples == 0 || double.IsNaN(_policies.Releasable(1, _training.HeldOutExamples)))
                {
                    LogNotEvaluated(version.Number, "there is no held-out data, or the policy does not let its loss leave");
                    return nothing;
                }
                var evaluation = _training.Evaluate(model, _ended.Token);
                return new LocalEvaluationDone(version.Number, _policies.Releasable(evaluation.Loss, _training.HeldOutExamples), evaluation.Examples);
            });
        }
        catch (SoraException e)
        {
            LogNotEvaluated(version.Number, e.Message);
            return nothing;
        }
        catch (Exception e) when (e is not OperationCanceledException)
        {
            LogUnexpected(e);
            return nothing;
        }
    }

    private async Task<RoundSiteEvent?> RetryAsync()
    {
        var retry = ++_retry;
        await Task.Delay(RetryInterval, _options.Time, _ended.Token);
        // A later offer has a retry of its own.
        return retry == _retry ? new RetryDue() : null;
    }

    private void Leave(LeaveFederation leave)
    {
        _run!.Journal.Append(new RunLeft(leave.Reason));
        _audit.Append(new PeerLeft(_run.Name, "coordinator", leave.Reason));
        _run.Clear();
        Exit(leave.Reason, leave.ExitCode);
    }

    /// <summary>Runs work beside the loop; its result is an event.</summary>
    private Task Start(Func<Task<RoundSiteEvent?>> work)
    {
        _underWay.RemoveAll(task => task.IsCompleted);
        var running = RunToEventAsync();
        _underWay.Add(running);
        return running;

        async Task RunToEventAsync()
        {
            try
            {
                if (await work() is { } happened)
                    Post(() => Handle(happened));
            }
            catch (OperationCanceledException) when (_ended.IsCancellationRequested)
            {
                // The session is over.
            }
            catch (SoraException e)
            {
                Post(() => Exit(e.Message, e.ExitCode));
            }
            catch (Exception e)
            {
                LogUnexpected(e);
                Post(() => Exit($"Unexpected {e.GetType().Name}: {e.Message}", ExitCode.Failure));
            }
        }
    }

    [LoggerMessage(2060, LogLevel.Warning, "The policy does not let {Message} leave: it is of type '{Type}'")]
    private partial void LogWithheld(string message, string type);

    [LoggerMessage(2061, LogLevel.Warning, "The policy forbids {Round}: {Rules}")]
    private partial void LogForbidden(string round, string rules);

    [LoggerMessage(2062, LogLevel.Warning, "No update in {Round}: {Reason}")]
    private partial void LogFailed(string round, string reason);

    [LoggerMessage(2063, LogLevel.Information, "The update of {Round} is not stored yet: {Reason}")]
    private partial void LogNotStored(string round, string reason);

    [LoggerMessage(2064, LogLevel.Information, "Model {Version} is not evaluated: {Reason}")]
    private partial void LogNotEvaluated(int version, string reason);

    [LoggerMessage(2065, LogLevel.Error, "Unexpected error")]
    private partial void LogUnexpected(Exception exception);
}
