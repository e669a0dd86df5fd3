using Sora.Protocol.Api;
using Sora.Protocol.Generations;

namespace Sora.Protocol.Tests.Simulation;

/// <summary>The work of one member of one generation: joining it, then the training loop. Each ends with exactly one event.</summary>
internal sealed class SimulatedTraining(Simulation world, SimulatedWorker worker, SimulatedMesh mesh)
{
    private bool _haltAfterStep;

    private StandInTrainer Trainer => worker.Trainer;

    private WorkerGeneration Generation => mesh.Generation;

    public void HaltAfterStep() => _haltAfterStep = true;

    public async Task JoinAsync()
    {
        try
        {
            await mesh.ConnectAsync();
            await TakeUpStateAsync();
            worker.Post(new WorkerEvent.Joined(Generation.Number, Trainer.Step));
        }
        catch (MeshBroken broken)
        {
            Halted(broken);
        }
    }

    public async Task TrainAsync()
    {
        try
        {
            if (await LoopAsync())
                worker.Post(new WorkerEvent.TrainingFinished(Generation.Number, Trainer.Step, $"{Trainer.Weights:x16}"));
            else
                worker.Post(new WorkerEvent.WorkHalted(Generation.Number, Trainer.Step, "", []));
            mesh.Leave("its work is done");
        }
        catch (MeshBroken broken)
        {
            Halted(broken);
        }
        catch (StepNotFinite found)
        {
            mesh.Leave(found.Message);
            worker.Post(new WorkerEvent.WorkHalted(Generation.Number, Trainer.Step, found.Message, [], found.Lanes));
        }
    }

    private void Halted(MeshBroken broken)
    {
        mesh.Leave(broken.Message);
        worker.Post(new WorkerEvent.WorkHalted(Generation.Number, Trainer.Step, broken.Message, broken.Suspects));
    }

    private async Task TakeUpStateAsync()
    {
        if (Generation.Holders.Contains(mesh.Rank))
            return;
        if (Generation.Holders.Count > 0)
        {
            Trainer.TakeUp(Generation.FirstStep, await mesh.ReceiveStateAsync());
            return;
        }
        await worker.Delay(world.Random.Next(10, 300));
        if (mesh.Left is not null)
            throw new MeshBroken("");
        if (Generation.RestoreFrom.Length == 0)
            Trainer.TakeUp(0, StandInTrainer.Initial(world.Schedule.Seed));
        else if (world.Storage.Read(Generation.RestoreFrom) is var (step, weights))
            Trainer.TakeUp(step, weights);
    }

    /// <returns>Whether the run's last step is committed, rather than a halt.</returns>
    private async Task<bool> LoopAsync()
    {
        var last = world.Schedule.Spec.MaxSteps;
        // What was due at the first step may have been missed by the generation before.
        await EvaluateAndSaveAsync(Generation.EvaluatedStep, Generation.SavedStep, halting: false);
        while (Trainer.Step < last)
        {
            await worker.Delay(world.Schedule.StepTime(world.Random));
            if (mesh.Left is not null)
                throw new MeshBroken("");
            var all = await mesh.ExchangeAsync("step", Trainer, _haltAfterStep);
            var gradients = all.SelectMany(contribution => contribution.Gradients).ToList();
            if (!Trainer.Accepts(gradients) && !world.Rules.CommitsWhatIsNotFinite)
                throw new StepNotFinite(Trainer.Step, [.. all[mesh.Rank].Gradients.Where(gradient => gradient.Gradient == StandInTrainer.NotFinite).Select(gradient => gradient.Lane)]);
            Trainer.Commit(gradients);
            world.Invariants.Committed(worker, Generation);
            worker.Committed(Generation.Number);
            world.Hazards.Strike("commit", worker);
            var halting = all.Any(contribution => contribution.HaltAfterStep) && Trainer.Step < last;
            await EvaluateAndSaveAsync(-1, -1, halting);
            if (halting)
                return false;
        }
        return true;
    }

    private async Task EvaluateAndSaveAsync(long evaluated, long saved, bool halting)
    {
        var (step, schedule) = (Trainer.Step, world.Schedule);
        var last = step == schedule.Spec.MaxSteps;
        if ((last || Due(step, schedule.EvaluateEvery)) && !halting && step > evaluated)
        {
            await mesh.ExchangeAsync("evaluation", Trainer, haltAfterStep: false);
            worker.Report(new FromWorker { Evaluation = new EvaluationReport { Run = Generation.Run, Generation = (ulong)Generation.Number, Step = (ulong)step, Loss = 1 } });
        }
        if (mesh.Rank != 0 || step <= saved || !(last || Due(step, schedule.SaveEvery)))
            return;
        // The loop waits for the last checkpoint only.
        var saving = worker.SaveAsync(step);
        if (last)
            await saving;
    }

    private sealed class StepNotFinite(long step, IReadOnlyList<int> lanes) : Exception($"step {step} is not finite")
    {
        public IReadOnlyList<int> Lanes => lanes;
    }

    private static bool Due(long step, int every) => step > 0 && every > 0 && step % every == 0;
}
