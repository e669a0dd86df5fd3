namespace Sora.Worker;

/// <summary>The end of standard input, which tells that whoever started this process is gone.</summary>
internal static class StandardInput
{
    public static void WatchEnd(Action ended)
    {
        // A thread of its own: reading standard input cannot be cancelled, and it must not keep the process alive.
        var watch = new Thread(() =>
        {
            using var input = Console.OpenStandardInput();
            var buffer = new byte[64];
            while (input.Read(buffer) > 0)
            {
                // Nothing is said there; only the end counts.
            }
            ended();
        })
        { IsBackground = true, Name = "standard input" };
        watch.Start();
    }
}
