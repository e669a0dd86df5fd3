using Sora.Protocol.Generations;

namespace Sora.Model.Data;

/// <summary>Where training tokens come from: the data plan over a corpus, local or fetched. A pure function of its arguments.</summary>
public interface IBatchSource : IDisposable
{
    /// <summary>Fills one micro-batch.</summary>
    /// <param name="step">Step, from 0.</param>
    /// <param name="lane">Lane.</param>
    /// <param name="micro">Micro-batch within the lane's step.</param>
    /// <param name="tokens">Row-major [batch, context_length + 1]; input is columns 0..n-1, target columns 1..n.</param>
    void Read(long step, int lane, int micro, Span<int> tokens);

    /// <summary>Says that the lanes' samples from this step on will be read soon, so that they can be fetched ahead. Never blocks.</summary>
    void Announce(long step, LaneRange lanes);

    /// <summary>Micro-batches the held-out part holds; the last may be padded with -1 rows, which have no target.</summary>
    long ValidationBatches { get; }

    /// <summary>UTF-8 bytes per token of the held-out part, for bits per byte.</summary>
    double ValidationBytesPerToken { get; }

    /// <summary>Fills one held-out micro-batch, laid out as for <see cref="Read"/>; rows past the end are filled with -1.</summary>
    void ReadValidation(long index, Span<int> tokens);
}
