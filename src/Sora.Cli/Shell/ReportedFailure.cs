using Sora.Protocol.Jobs;

namespace Sora.Cli.Shell;

/// <summary>A failure whose event was shown already: the message still goes to stderr and the code to the shell.</summary>
internal sealed class ReportedFailure(string message, int exitCode) : SoraException(message, exitCode);
