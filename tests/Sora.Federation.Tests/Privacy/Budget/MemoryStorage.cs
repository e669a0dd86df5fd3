using Sora.Federation.Privacy;

namespace Sora.Federation.Tests.Privacy.Budget;

/// <summary>A disk whose power fails after a number of bytes: what was written before stays, a replaced head is the old or the new one.</summary>
internal sealed class MemoryStorage : ILedgerStorage
{
    public List<byte> Log { get; init; } = [];

    public byte[] Head { get; set; } = [];

    /// <summary>How many more bytes reach the disk.</summary>
    public int BytesUntilPowerFails { get; set; } = int.MaxValue;

    public string Name => "test.ledger";

    public byte[] ReadHead() => Head;

    public byte[] ReadLog() => [.. Log];

    public void Append(ReadOnlySpan<byte> line)
    {
        foreach (var value in line)
        {
            Pay();
            Log.Add(value);
        }
        Pay(); // the flush
    }

    public void Truncate(long length)
    {
        Pay();
        Log.RemoveRange((int)length, Log.Count - (int)length);
    }

    public void ReplaceHead(ReadOnlySpan<byte> head)
    {
        foreach (var _ in head) Pay();
        Head = head.ToArray();
    }

    public void Dispose() { }

    private void Pay()
    {
        if (BytesUntilPowerFails-- <= 0) throw new IOException("The power failed.");
    }
}
