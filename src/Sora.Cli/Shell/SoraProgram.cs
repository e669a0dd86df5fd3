using System.CommandLine;
using System.CommandLine.Invocation;
using Sora.Model.Native;
using Sora.Protocol.Jobs;

namespace Sora.Cli.Shell;

/// <summary>Parses the command line, runs the verb, and turns every way to fail into one message and an exit code.</summary>
internal static class SoraProgram
{
    /// <summary>Runs one command.</summary>
    /// <returns>The exit code.</returns>
    public static async Task<int> RunAsync(string[] args)
    {
        StandardStreams.Install();
        var result = RootVerb.Create().Parse(args.Length == 0 ? ["--help"] : Normalize(args));
        if (result.Action is ParseErrorAction)
        {
            ErrorReport.Usage(result);
            return ExitCode.Usage;
        }
        try
        {
            // Verbs that stop gracefully handle signals themselves: the library would end them after two seconds.
            return await result.InvokeAsync(new InvocationConfiguration { EnableDefaultExceptionHandler = false, ProcessTerminationTimeout = null });
        }
        catch (AggregateException e) when (e.InnerException is OutputLostException lost)
        {
            return Report(lost); // progress is told from several threads at once
        }
        catch (SoraException e)
        {
            return Report(e);
        }
        catch (Exception e) when (MemoryErrors.Explain(e) is { } explained)
        {
            return Report(explained);
        }
        catch (Exception e)
        {
            ErrorReport.Internal(e);
            return ExitCode.Failure;
        }
    }

    private static int Report(SoraException error)
    {
        if (error is not OutputLostException { ReaderHasGone: true }) ErrorReport.Write(error);
        return error.ExitCode;
    }

    /// <summary><c>--max_steps</c> is <c>--max-steps</c>: both habits are common and neither is worth an error.</summary>
    internal static string[] Normalize(string[] args)
    {
        var end = Array.IndexOf(args, "--");
        return args.Select((arg, index) => (end < 0 || index < end) && arg.StartsWith("--", StringComparison.Ordinal) ? WithDashes(arg) : arg).ToArray();
    }

    private static string WithDashes(string option)
    {
        var equals = option.IndexOf('=');
        return equals < 0 ? option.Replace('_', '-') : option[..equals].Replace('_', '-') + option[equals..];
    }
}
