using System.Security.Cryptography;

namespace Sora.Federation.Tests.Privacy.Mechanisms;

/// <summary>The same bytes every time, so that tests of distributions never fail by chance.</summary>
internal sealed class SeededGenerator(int seed) : RandomNumberGenerator
{
    private readonly Random _random = new(seed);

    public override void GetBytes(byte[] data) => _random.NextBytes(data);

    public override void GetBytes(Span<byte> data) => _random.NextBytes(data);
}
