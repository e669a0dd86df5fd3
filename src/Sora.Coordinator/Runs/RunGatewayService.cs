using Akka.Actor;
using Grpc.Core;
using Sora.Coordinator.Configuration;
using Sora.Coordinator.Workers;
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
        var system = await SystemAsync(context);
        var (events, watch) = RunWatching.Submit(system, spec);
        try
        {
            // The first event follows the journal's word that the submission is written.
            if (!await events.WaitToReadAsync(context.CancellationToken))
                throw Ending();
            return new SubmitRunReply { Run = spec.Run };
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
                await responseStream.WriteAsync(new RunEventLine { Json = RunEventJson.Write(happened) }, context.CancellationToken);
                if (happened is RunFinished or RunStopped or RunFailed)
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
        var status = await QueryAsync(new StopRun(request.Run, request.Reason), context);
        return status.Phase != RunPhase.Idle
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
        State = run.IsOver
            ? run.LastEvent[..run.LastEvent.IndexOf(':', StringComparison.Ordinal)]
            : (await QueryAsync(new QueryRun(run.Run), context)).Phase.ToString().ToLowerInvariant(),
    };

    private async Task<RunStatus> QueryAsync(IJobMessage question, ServerCallContext context)
    {
        try
        {
            return await JobRegion.QueryAsync(await SystemAsync(context), question, context.CancellationToken);
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
