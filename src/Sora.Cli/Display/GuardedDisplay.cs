using Sora.Cli.Shell;
using Sora.Protocol.Runs;

namespace Sora.Cli.Display;

/// <summary>A display whose output may be lost without harm to the run: from then on it shows nothing, and says so once.</summary>
internal sealed class GuardedDisplay(IRunDisplay inner) : IRunDisplay
{
    private readonly Lock _one = new();

    /// <summary>Told when the output is lost.</summary>
    public Action<OutputLostException>? WhenLost { get; set; }

    /// <summary>Why nothing is shown any more; null while all is.</summary>
    public OutputLostException? Lost { get; private set; }

    /// <summary>The last event that nobody saw.</summary>
    public RunEvent? Unseen { get; private set; }

    public void Show(RunEvent happened)
    {
        lock (_one)
        {
            if (Lost is null)
            {
                try
                {
                    inner.Show(happened);
                    return;
                }
                catch (OutputLostException lost)
                {
                    Lost = lost;
                    WhenLost?.Invoke(lost);
                }
            }
            Unseen = happened;
        }
    }

    public ValueTask DisposeAsync() => inner.DisposeAsync();
}
