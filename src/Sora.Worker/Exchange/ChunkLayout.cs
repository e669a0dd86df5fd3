namespace Sora.Worker.Exchange;

/// <summary>How a flat gradient is cut: one chunk a worker, nearly equal, and frames inside a chunk so that sending, folding and receiving overlap.</summary>
internal sealed class ChunkLayout(long length, int workers, int frameLength)
{
    /// <summary>Elements of the flat gradient.</summary>
    public long Length { get; } = length;

    /// <summary>Address of an element of a flat gradient.</summary>
    public static nint At(nint values, long offset) => values + (nint)(offset * sizeof(float));

    /// <summary>First element of the chunk a rank owns.</summary>
    public long ChunkStart(int rank) => (long)((Int128)Length * rank / workers);

    /// <summary>Elements of the chunk a rank owns.</summary>
    public long ChunkLength(int rank) => ChunkStart(rank + 1) - ChunkStart(rank);

    /// <summary>Frames of the chunk a rank owns.</summary>
    public int Frames(int rank) => (int)((ChunkLength(rank) + frameLength - 1) / frameLength);

    /// <summary>Frames of all chunks before the one a rank owns.</summary>
    public int FirstFrame(int rank)
    {
        var frames = 0;
        for (var before = 0; before < rank; before++)
            frames += Frames(before);
        return frames;
    }

    /// <summary>Frames of all chunks.</summary>
    public int AllFrames => FirstFrame(workers);

    /// <summary>One frame of a chunk: its first element and how many.</summary>
    public (long Offset, int Length) Frame(int rank, int frame)
    {
        var within = (long)frame * frameLength;
        return (ChunkStart(rank) + within, (int)Math.Min(frameLength, ChunkLength(rank) - within));
    }

    /// <summary>The frame of a chunk that starts at <paramref name="offset"/> and has that many elements, or -1.</summary>
    public int FrameAt(int rank, long offset, int length)
    {
        if (rank < 0 || rank >= workers)
            return -1;
        var within = offset - ChunkStart(rank);
        if (within < 0 || within >= ChunkLength(rank) || within % frameLength != 0)
            return -1;
        var frame = (int)(within / frameLength);
        return Frame(rank, frame).Length == length ? frame : -1;
    }
}
