using Sora.Model.Checkpoints.Storage;
using Sora.Model.Training;

namespace Sora.Model.Checkpoints;

/// <summary>How the writing of a checkpoint ended.</summary>
/// <param name="Step">The step it was of.</param>
/// <param name="Saved">The checkpoint; null: there is none, or another writer of it completes it.</param>
/// <param name="Error">Why there is none.</param>
/// <param name="Elapsed">From the copy to the end.</param>
/// <param name="Abandoned">Earlier ones that will never be completed; to be shown.</param>
public sealed record SaveOutcome(long Step, CheckpointInfo? Saved, CheckpointWriteException? Error, TimeSpan Elapsed, IReadOnlyList<AbandonedCheckpoint> Abandoned);

/// <summary>Makes the contents of a checkpoint out of tensors: all of the state's, or those a share needs.</summary>
public delegate CheckpointContents DescribeCheckpoint(IReadOnlyList<NamedTensor> weights, IReadOnlyList<NamedTensor> optimizer);

/// <summary>
/// Writes checkpoints beside the training: the training thread stands still only while the state is copied in host memory.
/// One at a time, because there is one copy; all but <see cref="Dispose"/> is for the training thread.
/// </summary>
/// <param name="time">Measures, and limits waiting.</param>
public sealed class CheckpointWriter(TimeProvider time) : IDisposable
{
    private CheckpointLayout? _layout;
    private CheckpointShare? _share;
    private StateSnapshot? _snapshot;
    private Task<SaveOutcome>? _writing;

    /// <summary>The step whose checkpoint was begun last; -1: none.</summary>
    public long Step { get; private set; } = -1;

    /// <summary>Whether a checkpoint is being written.</summary>
    public bool IsWriting => _writing is { IsCompleted: false };

    /// <summary>Whether the checkpoint of a step is written, or on its way.</summary>
    public bool Has(long step) => Step == step && _writing is { } writing && (!writing.IsCompleted || writing is { IsCompletedSuccessfully: true, Result.Saved: not null });

    /// <summary>Makes room for the copy of what this worker writes, so that the first save need not.</summary>
    /// <param name="trainer">The same at every call.</param>
    /// <param name="group">Who writes.</param>
    /// <param name="describe">Called once, if at all, with the trainer's own tensors.</param>
    public void Prepare(Trainer trainer, SaveGroup group, DescribeCheckpoint describe)
    {
        if (_share is { } prepared && (prepared.Index, prepared.Count, prepared.KeepsWhole) == (group.Index, group.Count, group.KeepsWhole))
            return;
        Wait(Timeout.InfiniteTimeSpan);
        _snapshot?.Dispose();
        (_snapshot, _share) = (null, null);
        _layout ??= LayoutOf(trainer, describe);
        var share = CheckpointShare.Of(_layout, group);
        _snapshot = trainer.NewSnapshot(share.WeightNames, share.OptimizerNames);
        _share = share;
    }

    /// <summary>Copies this worker's share of the state and begins to write it. Nothing may be under way.</summary>
    /// <param name="trainer">The same at every call.</param>
    /// <param name="group">Who writes.</param>
    /// <param name="describe">Makes the contents out of the copy; called here.</param>
    /// <param name="ended">Told how it ended, on another thread.</param>
    public void Begin(Trainer trainer, SaveGroup group, DescribeCheckpoint describe, Action<SaveOutcome> ended)
    {
        if (IsWriting)
            throw new InvalidOperationException($"The checkpoint of step {Step} is still being written.");
        Wait(Timeout.InfiniteTimeSpan);
        Prepare(trainer, group, describe);
        var started = time.GetTimestamp();
        trainer.CopyTo(_snapshot!);
        var contents = describe(_snapshot!.Weights, _snapshot.Optimizer) with { Group = group, Share = _share! };
        Step = contents.Step;
        // A thread of its own: it waits for the disk most of the time.
        _writing = Task.Factory.StartNew(Write, CancellationToken.None, TaskCreationOptions.LongRunning, TaskScheduler.Default);

        SaveOutcome Write()
        {
            SaveOutcome outcome;
            try
            {
                var (saved, abandoned) = CheckpointStore.Save(contents);
                outcome = new SaveOutcome(contents.Step, saved, null, time.GetElapsedTime(started), abandoned);
            }
            catch (CheckpointWriteException exception)
            {
                outcome = new SaveOutcome(contents.Step, null, exception, time.GetElapsedTime(started), []);
            }
            ended(outcome);
            return outcome;
        }
    }

    /// <summary>Waits until nothing is being written.</summary>
    /// <param name="limit">How long at most; <see cref="Timeout.InfiniteTimeSpan"/>: to the end.</param>
    /// <returns>Whether nothing is.</returns>
    /// <exception cref="Exception">Writing failed with an error that is none of the disk's.</exception>
    public bool Wait(TimeSpan limit)
    {
        try
        {
            _writing?.WaitAsync(limit, time).GetAwaiter().GetResult();
            return true;
        }
        catch (TimeoutException) when (IsWriting)
        {
            return false;
        }
    }

    /// <summary>Waits for what is being written, as its memory is freed.</summary>
    public void Dispose()
    {
        // An error was, or will be, somebody else's to tell; here only the memory counts.
        ((IAsyncResult?)_writing)?.AsyncWaitHandle.WaitOne();
        _snapshot?.Dispose();
    }

    private static CheckpointLayout LayoutOf(Trainer trainer, DescribeCheckpoint describe)
    {
        var (weights, optimizer) = (trainer.Weights, trainer.OptimizerState);
        try
        {
            return describe(weights, optimizer).Layout;
        }
        finally
        {
            foreach (var view in weights.Concat(optimizer))
                view.Value.Dispose();
        }
    }
}
