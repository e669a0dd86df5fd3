using System.Threading.Channels;
using Sora.Cli.Train;
using Sora.Protocol.Runs;
using Spectre.Console;
using Spectre.Console.Rendering;

namespace Sora.Cli.Display;

/// <summary>A progress bar that stays at the bottom of a terminal while news scrolls by above it.</summary>
internal sealed class LiveDisplay : IRunDisplay
{
    private readonly Channel<RunEvent> _events = Channel.CreateUnbounded<RunEvent>(new UnboundedChannelOptions { SingleReader = true });
    private readonly RunPace _pace;
    private readonly Membership _membership = new();
    private readonly Task _drawing;

    public LiveDisplay(TimeProvider clock)
    {
        _pace = new RunPace(clock);
        _drawing = Task.Run(DrawAsync);
    }

    public void Show(RunEvent happened) => _events.Writer.TryWrite(happened);

    public async ValueTask DisposeAsync()
    {
        _events.Writer.TryComplete();
        await _drawing;
    }

    private Task DrawAsync() => AnsiConsole.Progress()
        .AutoClear(true)
        .HideCompleted(true)
        .Columns(new TaskDescriptionColumn { Alignment = Justify.Left }, new ProgressBarColumn(), new PercentageColumn(), new NumbersColumn())
        .StartAsync(async context =>
        {
            ProgressTask? data = null, steps = null;
            await foreach (var happened in _events.Reader.ReadAllAsync())
            {
                switch (happened)
                {
                    case DataProgress progress:
                        data = Advance(context, data, progress);
                        break;
                    case DataReady:
                        data?.StopTask();
                        goto default;
                    case RunStarted started:
                        _pace.Start(started);
                        steps = context.AddTask("training", maxValue: started.MaxSteps);
                        steps.Value = started.FirstStep;
                        goto default;
                    case StepCommitted step when steps is not null:
                        steps.Value = step.Step;
                        steps.State.Update<Numbers>(NumbersColumn.Key, _ => new Numbers(RunLines.Of(step, _pace.MaxSteps, _pace.Left(step))));
                        break;
                    default:
                        var text = happened is GenerationFormed formed ? _membership.Line(formed) : RunLines.Of(happened);
                        if (text is { } line) AnsiConsole.MarkupLine(Style(happened, Markup.Escape(line)));
                        break;
                }
            }
        });

    private static ProgressTask Advance(ProgressContext context, ProgressTask? task, DataProgress progress)
    {
        if (task?.Description != progress.Stage)
        {
            task?.StopTask();
            task = context.AddTask(Markup.Escape(progress.Stage));
        }
        task.IsIndeterminate = progress.Total is null;
        task.MaxValue = Math.Max(1, progress.Total ?? 1);
        task.Value = Math.Min(progress.Done, progress.Total ?? 0);
        task.State.Update<Numbers>(NumbersColumn.Key, _ => new Numbers(PlainDisplay.Amount(progress)));
        return task;
    }

    private static string Style(RunEvent happened, string line) => happened switch
    {
        RunWarning or WorkerRefused or WorkerLeft or WorkerStaysDown or RunWaiting or RunStopped => $"[yellow]{line}[/]",
        RunFinished => $"[green]{line}[/]",
        Evaluated => $"[bold]{line}[/]",
        TextSampled or RunPlan => line,
        _ => $"[grey]{line}[/]",
    };

    private readonly record struct Numbers(string? Text); // the library keeps only values with a task

    /// <summary>The numbers beside the bar.</summary>
    private sealed class NumbersColumn : ProgressColumn
    {
        public const string Key = "numbers";

        public override IRenderable Render(RenderOptions options, ProgressTask task, TimeSpan deltaTime) => new Text(task.State.Get<Numbers>(Key).Text ?? "");

        protected override bool NoWrap => true;
    }
}
