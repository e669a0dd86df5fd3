using Sora.Cli.Display;
using Sora.Federation.Rounds;
using Sora.Model.Checkpoints;
using Sora.Model.Checkpoints.Storage;
using Sora.Protocol.Jobs;
using Sora.Protocol.Runs;
using Sora.Worker.Sites;

namespace Sora.Cli.Federate;

/// <summary>What is made of a federated run when all rounds are done.</summary>
internal sealed class FederationResult(TrainingJob job, FederationSettings settings, FederationFiles files, GuardedDisplay display, TimeProvider clock)
{
    /// <summary>Writes the last global model as a checkpoint: with <c>lora</c> adapters that PEFT reads, else a whole network.</summary>
    public void Export(FederationFinished finished)
    {
        var started = clock.GetTimestamp();
        using var trainer = files.NewTrainer();
        trainer.Begin(finished.Rounds, Model(finished.Rounds));
        using var weights = new OwnedTensors(trainer.Weights);
        using var optimizer = new OwnedTensors(trainer.OptimizerState);
        var (saved, _) = CheckpointStore.Save(new CheckpointContents
        {
            OutputDir = files.Output,
            Step = finished.Rounds,
            TokensSeen = 0,
            Job = job,
            CorpusSha256 = "",
            Tokenizer = files.Tokenizer(),
            Canary = "",
            Numerics = "",
            Weights = weights.Tensors,
            Optimizer = optimizer.Tensors,
        });
        if (saved is not null)
            display.Show(new CheckpointSaved(saved.Step, saved.Path, saved.WeightsSha256, clock.GetElapsedTime(started).TotalSeconds));
    }

    /// <summary>
    /// Trains each site of this machine by itself, as long as the rounds took together, and tells what its model, that of the rounds and the one they
    /// began with say of its held-out text.
    /// </summary>
    public void CompareWithLocalTraining(IReadOnlyList<LocalSite> sites)
    {
        var (initial, global) = (Model(0), Model(settings.Rounds));
        foreach (var site in sites)
        {
            var data = site.Inputs.Select(input => new SiteDataSet(site.Name, input)).ToArray();
            using var training = new LocalTrainingSource("", job.Data.CacheDir, clock).Open(new SiteAssignment(RunOf(initial.Length), job, site.Name), new LocalPlan(data, default));
            var local = (float[])initial.Clone();
            for (var round = 1; round <= settings.Rounds; round++)
            {
                var update = training.Train(RoundOf(round, initial.Length), local, settings, CancellationToken.None).Values;
                for (var i = 0; i < local.Length; i++) local[i] += update[i];
            }
            double Loss(float[] model) => training.Evaluate(model, CancellationToken.None).Loss;
            display.Show(new SiteCompared(site.Name, Loss(initial), Loss(local), Loss(global)));
        }
    }

    private FederatedRun RunOf(int parameters) => new("fed-local", job.Seed, new ModelVersion(0, ""), new ChunkLayout(parameters, parameters), settings);

    private RoundAnnounced RoundOf(int round, int parameters) => new(
        "fed-local", new RoundKey(round, 1), new ModelVersion(round - 1, ""), settings.LocalSteps, settings.LocalEpochs, TimeSpan.Zero, new ChunkLayout(parameters, parameters), Secure: false);

    private float[] Model(int number) => files.ReadModel(number)
        ?? throw new SoraException($"Model {number} is not in {files.Output}/federation/models. Was the folder changed by hand? Begin anew with --overwrite.", ExitCode.InvalidInput);
}
