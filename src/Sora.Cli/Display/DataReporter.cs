using Sora.Model.Data;
using Sora.Protocol.Runs;

namespace Sora.Cli.Display;

/// <summary>Passes the progress of a data preparation, which comes from several threads, to a display, which wants one.</summary>
internal sealed class DataReporter(IRunDisplay display) : IProgress<PrepareProgress>
{
    private readonly Lock _one = new();

    public void Report(PrepareProgress value)
    {
        if (value.Phase == PreparePhase.Done) return; // the corpus itself is shown then
        lock (_one)
        {
            if (value.Message is { } message) display.Show(new RunWarning(message)); // progress is drawn over, and not shown to programs
            else display.Show(new DataProgress(Stage(value.Phase), value.Bytes, value.TotalBytes > 0 ? value.TotalBytes : null, "B"));
        }
    }

    private static string Stage(PreparePhase phase) => phase switch
    {
        PreparePhase.Finding => "looking for text",
        PreparePhase.Downloading => "downloading",
        PreparePhase.TrainingTokenizer => "training the tokenizer",
        PreparePhase.Encoding => "turning text into tokens",
        PreparePhase.Hashing => "hashing",
        _ => phase.ToString(),
    };
}
