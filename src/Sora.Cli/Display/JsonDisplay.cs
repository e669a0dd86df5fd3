using Sora.Protocol.Runs;

namespace Sora.Cli.Display;

/// <summary>One JSON object a line, for programs.</summary>
internal sealed class JsonDisplay(TextWriter output) : IRunDisplay
{
    public void Show(RunEvent happened)
    {
        if (happened is DataProgress) return; // for eyes only
        output.WriteLine(RunJson.Write(happened));
        output.Flush();
    }

    public ValueTask DisposeAsync() => ValueTask.CompletedTask;
}
