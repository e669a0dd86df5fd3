using Sora.Protocol.Exchange;
using Sora.Worker.Exchange;

namespace Sora.Worker.Tests.Exchange;

/// <summary>A state in host memory, cut into regions that lie apart.</summary>
internal sealed unsafe class HostState : IDisposable
{
    private readonly List<NativeFloats> _memory = [];

    /// <param name="sizes">Bytes of the regions.</param>
    /// <param name="content">What is in them, all together; null: something that is no state.</param>
    public HostState(IReadOnlyList<int> sizes, byte[]? content = null)
    {
        var regions = new StateRegion[sizes.Count];
        var at = 0;
        for (var i = 0; i < regions.Length; i++)
        {
            _memory.Add(new NativeFloats((sizes[i] + 3) / 4));
            regions[i] = new StateRegion(_memory[i].Address, sizes[i]);
            if (content is null)
                Bytes(regions[i]).Fill(0xEE);
            else
                content.AsSpan(at, sizes[i]).CopyTo(Bytes(regions[i]));
            at += sizes[i];
        }
        Regions = regions;
    }

    public StateRegion[] Regions { get; }

    /// <summary>A copy of all of it.</summary>
    public byte[] Content => [.. Regions.SelectMany(region => Bytes(region).ToArray())];

    public static byte[] Random(int bytes, int seed = 1)
    {
        var content = new byte[bytes];
        new Random(seed).NextBytes(content);
        return content;
    }

    public void Dispose() => _memory.ForEach(memory => memory.Dispose());

    private static Span<byte> Bytes(StateRegion region) => new((void*)region.Address, (int)region.Bytes);
}
