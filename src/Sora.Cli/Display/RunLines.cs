using System.Globalization;
using Sora.Cli.Train;
using Sora.Protocol.Runs;

namespace Sora.Cli.Display;

/// <summary>Run events as the lines people read; null for what needs none.</summary>
internal static class RunLines
{
    public static string? Of(RunEvent happened) => happened switch
    {
        RunStarted e => string.Create(CultureInfo.InvariantCulture,
            $"run {e.Name}: {Format.Count(e.Parameters)} parameters, {Format.Of(e.Workers, "worker")}, {Format.Of(e.Lanes, "lane")}, {e.TokensPerStep:N0} tokens a step, {e.Device} {e.Dtype}, steps {e.FirstStep}..{e.MaxSteps}"),
        WorkerJoined e => $"worker {e.Worker} joined: {e.Host}, process {e.ProcessId}, {e.Device}{(e.NumericsDiffer ? "; its numerics differ, the run is marked" : "")}",
        WorkerRefused e => $"worker {e.Worker} refused ({e.Host}, process {e.ProcessId}): {e.Reason}",
        WorkerLeft e => $"worker {e.Worker} left: {e.Reason}",
        WorkerRestarting e => string.Create(CultureInfo.InvariantCulture, $"{e.Worker} (process {e.ProcessId}) ended, {e.Reason}; starting it again in {e.DelaySeconds:0.#}s"),
        WorkerStaysDown { Why.Length: > 0 } e => $"{e.Worker} (process {e.ProcessId}) ended, {e.Reason}, and stays down: {e.Why}. Its log: {e.Log}",
        RunWaiting e => $"waiting after step {e.Step}: {(e.Workers == 0 ? "no worker is" : $"{Format.Of(e.Workers, "worker")} {(e.Workers == 1 ? "is" : "are")}")} here, {e.MinWorkers} must be",
        CoordinatorListening e => $"to add a worker: sora worker --coordinator {e.Address} --token-file {e.TokenFile}",
        Evaluated e => string.Create(CultureInfo.InvariantCulture,
            $"eval: step {e.Step}  eval_loss: {Format.Loss(e.EvalLoss)}  perplexity: {e.Perplexity:0.00}  bits_per_byte: {e.BitsPerByte:0.000}"),
        CheckpointSaved e => string.Create(CultureInfo.InvariantCulture, $"checkpoint: step {e.Step}  {e.Path}  ({e.Seconds:0.0}s)"),
        RunWarning e => $"warning: {e.Message}",
        RunPlan e => e.ToText(),
        DataReady e => string.Create(CultureInfo.InvariantCulture,
            $"corpus: {Format.Of(e.Documents, "document")}, {e.TrainTokens:N0} tokens to train on, {e.ValidationTokens:N0} held out, in {e.CorpusDir}"),
        TextSampled e => $"sample: {e.Prompt}{Format.Printable(e.Text)}\n",
        LossCurveDrawn e => $"loss curve: {e.Path}",
        RunFinished e => $"finished: step {e.Step}{(double.IsNaN(e.Loss) ? "" : $"  loss: {Format.Loss(e.Loss)}")}{(e.EvalLoss is { } loss ? $"  eval_loss: {Format.Loss(loss)}" : "")}\nweights: {e.WeightsSha256}\noutput: {e.OutputDir}",
        RunStopped e => $"stopped at step {e.Step}: {e.Reason}",
        _ => Federate.FederationLines.Of(happened), // generations and steps have forms of their own, failures go to stderr
    };

    /// <summary>torchtitan's order of a step's numbers, which people know how to scan.</summary>
    public static string Of(StepCommitted step, long maxSteps, TimeSpan? left) => string.Create(CultureInfo.InvariantCulture,
        $"step: {step.Step}/{maxSteps}  loss: {Format.Loss(step.Loss)}  grad_norm: {Norm(step.GradNorm)}  tps: {step.TokensPerSecond:N0}{(left is { } time ? $"  eta: {Format.Duration(time)}" : "")}");

    private static string Norm(double norm) => norm.ToString(double.IsFinite(norm) ? "0.00" : "R", CultureInfo.InvariantCulture);
}
