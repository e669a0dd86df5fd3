using Sora.Protocol.Jobs;

namespace Sora.Model.Training;

/// <summary>Loss or gradient of a step are not finite. The step was not applied. Either the training diverged or a device computes wrongly.</summary>
/// <param name="message">What happened, where, and what to do.</param>
/// <param name="lanes">Those of the trainer's own lanes whose loss or gradient are not finite.</param>
public sealed class NotFiniteException(string message, IReadOnlyList<int> lanes) : SoraException(message, Protocol.Jobs.ExitCode.Diverged)
{
    /// <summary>Those of the trainer's own lanes whose loss or gradient are not finite.</summary>
    public IReadOnlyList<int> Lanes { get; } = lanes;
}
