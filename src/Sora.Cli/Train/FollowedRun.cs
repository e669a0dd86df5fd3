using Sora.Protocol.Runs;

namespace Sora.Cli.Train;

/// <summary>A run that is carried out, by a coordinator of this process or by one elsewhere.</summary>
/// <param name="Events">What happens, to the end.</param>
/// <param name="StopAsync">Asks it to stop with a checkpoint, for a reason.</param>
internal sealed record FollowedRun(IAsyncEnumerable<RunEvent> Events, Func<string, Task> StopAsync);
