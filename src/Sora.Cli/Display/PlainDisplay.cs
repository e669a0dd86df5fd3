using System.Globalization;
using Sora.Protocol.Runs;

namespace Sora.Cli.Display;

/// <summary>Lines, for logs, pipes and terminals without colour.</summary>
internal sealed class PlainDisplay(TextWriter output, TextWriter errors, TimeProvider clock) : IRunDisplay
{
    private const int DataLines = 10;

    private static readonly TimeSpan DataInterval = TimeSpan.FromSeconds(2);

    private readonly RunPace _pace = new(clock);
    private readonly Membership _membership = new();
    private string? _stage;
    private long _stageShown;
    private long _tenthShown;

    public void Show(RunEvent happened)
    {
        if (happened is RunStarted started) _pace.Start(started);
        switch (happened)
        {
            case StepCommitted step: output.WriteLine(RunLines.Of(step, _pace.MaxSteps, _pace.Left(step))); break;
            case DataProgress progress: ShowData(progress); break;
            case GenerationFormed formed:
                if (_membership.Line(formed) is { } change) output.WriteLine(change);
                break;
            case RunWarning or WorkerRefused or WorkerStaysDown { Why.Length: > 0 }: errors.WriteLine($"sora: {RunLines.Of(happened)}"); break;
            default:
                if (RunLines.Of(happened) is { } line) output.WriteLine(line);
                break;
        }
    }

    public ValueTask DisposeAsync() => ValueTask.CompletedTask;

    private void ShowData(DataProgress progress)
    {
        // Where the end is known, each tenth of the way; else the clock must do.
        var tenth = progress.Total is { } total and > 0 ? progress.Done * DataLines / total : (long?)null;
        if (progress.Stage == _stage && (tenth is { } reached ? reached <= _tenthShown : clock.GetElapsedTime(_stageShown) < DataInterval)) return;
        (_stage, _stageShown, _tenthShown) = (progress.Stage, clock.GetTimestamp(), tenth ?? 0);
        output.WriteLine($"data: {progress.Stage} {Amount(progress)}".TrimEnd());
    }

    internal static string Amount(DataProgress progress)
    {
        string Text(long amount) => progress.Unit == "B" ? Format.Bytes(amount) : string.Create(CultureInfo.InvariantCulture, $"{amount:N0} {progress.Unit}");
        return progress switch
        {
            { Done: 0, Total: null } => "",
            { Total: { } total } => $"{Text(progress.Done)} of {Text(total)}",
            _ => Text(progress.Done),
        };
    }
}
