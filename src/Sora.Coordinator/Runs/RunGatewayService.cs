using Akka.Actor;
using Grpc.Core;
using Sora.Coordinator.Configuration;
using Sora.Coordinator.Federations;
using Sora.Coordinator.Workers;
using Sora.Federation.Rounds;
using Sora.Protocol.Api;
using Sora.Protocol.Generations;
using Sora.Protocol.Jobs;
using Sora.Protocol.Runs;
using Status = Grpc.Core.Status;

namespace Sora.Coordinator.Runs;

/// <summary>What people and their tools may call.</summary>
internal sealed class RunGatewayService(CoordinatorActors actors, Journal journal) : RunGateway.RunGatewayBase
{
    public override async Task<SubmitRunReply> SubmitRun(SubmitRunRequest request, ServerCallContext context)
    {
        var spec = Read(request);
        return await SubmitAsync(new SubmitRun(spec), context);
    }

    public override async Task<SubmitRunReply> SubmitFederation(SubmitFederationRequest request, ServerCallContext context)
    {
        SubmitFederation submission;
        try
        {
            submission = FederationSubmission.Read(request.Run, request.JobJson, request.FederatedRun.Memory, request.OutputDir);
        }
        catch (SoraException wrong)
        {
            throw new RpcException(new Status(StatusCode.InvalidArgument, wrong.Message));
        }
        return await SubmitAsync(submission, context);
    }

    private async Task<SubmitRunReply> SubmitAsync(IJobMessage submission, ServerCallContext context)
    {
        var system = await SystemAsync(context);
        var (events, watch) = RunWatching.Submit(system, submission);
        try
        {
            // The first event follows the journal's word that the submission is written.
            if (!await events.WaitToReadAsync(context.CancellationToken))
                throw Ending();
            return new SubmitRunReply { Run = submission.Run };
        }
        catch (SoraException refused)
        {
            throw new RpcException(new Status(StatusCode.FailedPrecondition, refused.Message));
        }
        finally
        {
            system.Stop(watch);
        }
    }

    public override async Task WatchRun(WatchRunRequest request, IServerStreamWriter<RunEventLine> responseStream, ServerCallContext context)
    {
        var system = await SystemAsync(context);
        try
        {
            await foreach (var happened in RunWatching.Watch(system, request.Run, request.HasFrom ? request.From : -1, context.CancellationToken))
            {
                await responseStream.WriteAsync(new RunEventLine { Json = RoundReportJson.Write(happened) }, context.CancellationToken);
                if (RunWatching.Ends(happened))
                    return;
            }
        }
        catch (SoraException refused)
        {
            throw new RpcException(new Status(StatusCode.NotFound, refused.Message));
        }
        throw Ending();
    }

    public override async Task<StopRunReply> StopRun(StopRunRequest request, ServerCallContext context)
    {
        var stop = new StopRun(request.Run, request.Reason);
        var isKnown = FederationRegion.Owns(request.Run)
            ? (await QueryAsync<FederationStatus>(stop, context)).Phase != RoundPhase.Idle
            : (await QueryAsync<RunStatus>(stop, context)).Phase != RunPhase.Idle;
        return isKnown
            ? new StopRunReply()
            : throw new RpcException(new Status(StatusCode.NotFound, $"There is no run {request.Run} here. List the runs to see which there are."));
    }

    public override async Task<ListRunsReply> ListRuns(ListRunsRequest request, ServerCallContext context)
    {
        var runs = await Task.Run(journal.ListRuns, context.CancellationToken);
        return new ListRunsReply { Runs = { await Task.WhenAll(runs.Select(run => SummarizeAsync(run, context))) } };
    }

    private async Task<RunSummary> SummarizeAsync(JournaledRun run, ServerCallContext context) => new()
    {
        Run = run.Run,
        State = await StateAsync(run, context),
    };

    private async Task<string> StateAsync(JournaledRun run, ServerCallContext context)
    {
        var query = new QueryRun(run.Run);
        if (FederationRegion.Owns(run.Run))
        {
            var status = await QueryAsync<FederationStatus>(query, context);
            return status.Outcome.Length > 0 ? status.Outcome : status.Phase.ToString().ToLowerInvariant();
        }
        return run.IsOver
            ? run.LastEvent[..run.LastEvent.IndexOf(':', StringComparison.Ordinal)]
            : (await QueryAsync<RunStatus>(query, context)).Phase.ToString().ToLowerInvariant();
    }

    private async Task<T> QueryAsync<T>(IJobMessage question, ServerCallContext context)
    {
        try
        {
            return await JobRegion.QueryAsync<T>(await SystemAsync(context), question, context.CancellationToken);
        }
        catch (SoraException unanswered)
        {
            throw new RpcException(new Status(StatusCode.Unavailable, unanswered.Message));
        }
    }

    private async Task<ActorSystem> SystemAsync(ServerCallContext context)
    {
        var (system, _) = await actors.Ready.WaitAsync(context.CancellationToken);
        return system;
    }

    private static RunSpec Read(SubmitRunRequest request)
    {
        try
        {
            var submission = new RunSubmission
            {
                Run = request.Run.Length > 0 ? request.Run : Guid.NewGuid().ToString("N"),
                Job = JobJson.Parse(request.JobJson),
                JobJson = request.JobJson,
                CorpusHash = request.CorpusHash,
                CorpusDir = request.CorpusDir,
                OutputDir = request.OutputDir,
                ResumeFrom = OrNull(request.ResumeFrom),
                FirstStep = request.FirstStep,
                Workers = (int)request.Workers,
                StartWorkers = request.StartWorkers > 0 ? (int)request.StartWorkers : null,
                MinWorkers = Math.Max(1, (int)request.MinWorkers),
                ExpectedCanary = OrNull(request.ExpectedCanary),
                ExpectedFingerprint = OrNull(request.ExpectedFingerprint),
                Parameters = request.Parameters,
                Device = OrNull(request.Device),
            };
            submission.Check();
            return submission.ToSpec();
        }
        catch (SoraException wrong)
        {
            throw new RpcException(new Status(StatusCode.InvalidArgument, wrong.Message));
        }
    }

    private static string? OrNull(string text) => text.Length > 0 ? text : null;

    private static RpcException Ending() => new(new Status(StatusCode.Unavailable, "This coordinator is ending; ask another, or later."));
}
