using System.CommandLine;
using Sora.Federation.Audit;
using Sora.Federation.Identity;
using Sora.Protocol.Jobs;

namespace Sora.Cli.Audit;

/// <summary>The arguments that say which log is meant and what is known of it; shared by all verbs that read one.</summary>
internal sealed class LogArguments
{
    private readonly Argument<string> _log = new("log") { Description = "Audit log (JSON lines)." };
    private readonly Option<string> _head = new("--head") { Description = "A hash that was the log's head once; it must be in it.", HelpName = "HASH" };
    private readonly Option<string> _key = new("--key") { Description = "Public key that signs the log's checkpoints.", HelpName = "FILE" };

    public void AddTo(Command verb)
    {
        verb.Add(_log);
        verb.Add(_head);
        verb.Add(_key);
    }

    /// <exception cref="SoraException">The key cannot be read, or the head is no hash.</exception>
    public (string Path, AuditExpectations Expected) Read(ParseResult result)
    {
        var head = result.GetValue(_head)?.ToLowerInvariant();
        if (head is not null && (head.Length != 64 || !head.All(char.IsAsciiHexDigit)))
            throw new SoraException("--head takes 64 hexadecimal digits, as 'sora audit verify' prints them.", ExitCode.Usage);
        var key = result.GetValue(_key) is { } file ? KeyFiles.ReadPublic(file).Key : null;
        return (result.GetRequiredValue(_log), new AuditExpectations(head, key));
    }

    /// <exception cref="SoraException">There is no such log.</exception>
    public FileStream Open(string path)
    {
        try
        {
            // Whoever writes it may go on.
            return new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new SoraException($"The audit log cannot be read: {e.Message}", ExitCode.Usage, e);
        }
    }
}
