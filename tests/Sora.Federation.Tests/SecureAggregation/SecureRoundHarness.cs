using System.Buffers.Binary;
using System.Collections.Immutable;
using System.Security.Cryptography;
using System.Text;
using Sora.Federation.SecureAggregation;

namespace Sora.Federation.Tests.SecureAggregation;

/// <summary>A coordinator and some sites in one process: all that is needed to play a secure round.</summary>
internal sealed class SecureRoundHarness
{
    public static readonly SecureAggregationRules LaxRules = new(MinimumSurvivors: 2, MinimumNeighbours: 1, LeastAdversary: AdversaryClass.None);

    private readonly Func<int, IKeyAgreement> _agreements;

    public SecureRoundHarness(int sites, int parameters, ThreatModel threat, Func<int, IKeyAgreement>? agreements = null, int minimumSites = 2)
    {
        Names = [.. Enumerable.Range(0, sites).Select(site => $"site-{site:00}")];
        Plan = new(SHA256.HashData("session"u8), "quickstart", 3, parameters, minimumSites, new FixedPointEncoding(sites, 8f, 1000), threat);
        _agreements = agreements ?? (site => new FastKeyAgreement(seed: 1000 + site));
        var random = new Random(7);
        Updates = [.. Names.Select(_ => Enumerable.Range(0, parameters).Select(_ => (float)(random.NextDouble() * 16 - 8)).ToArray())];
        Weights = [.. Names.Select(_ => random.Next(1, 1001))];
    }

    public SecureAggregationPlan Plan { get; }
    public string[] Names { get; }
    public float[][] Updates { get; }
    public int[] Weights { get; }
    public SecureAggregationRules Rules { get; init; } = LaxRules;
    public TestIdentities Identities { get; } = new();

    public SecureAggregationServer StartServer() => SecureAggregationServer.Start(Plan, Identities, _agreements(-1));

    public SecureAggregationClient NewClient(int site, SecureAggregationRules? rules = null) => new(
        Plan, Names[site], rules ?? Rules, Identities.SignerOf(Names[site]), Identities, new SeededRandom(site), _agreements(site));

    public SecureAggregationClient[] NewClients() => [.. Enumerable.Range(0, Names.Length).Select(site => NewClient(site))];

    public uint[] Encode(int site)
    {
        var encoded = new uint[Plan.Elements];
        Plan.Encoding.Encode(Updates[site], Weights[site], 0, encoded.AsSpan(0, Plan.Parameters));
        encoded[^1] = (uint)Weights[site];
        return encoded;
    }

    /// <summary>The plain sum: what the secure one must be, to the bit.</summary>
    public uint[] PlainSum(IEnumerable<int> sites)
    {
        var sum = new uint[Plan.Elements];
        foreach (var site in sites)
            foreach (var (value, i) in Encode(site).Select((value, i) => (value, i)))
                sum[i] = unchecked(sum[i] + value);
        return sum;
    }

    public void AssertIsSumOf(IEnumerable<int> sites, SecureSum sum)
    {
        var plain = PlainSum(sites);
        Assert.Equal(plain[..^1], sum.Encoded.ToArray());
        Assert.Equal(plain[^1], sum.TotalWeight);
    }

    /// <summary>
    /// Plays a round. <paramref name="dropStage"/> says for each site before which stage (0..4) it drops; 5 is never.
    /// What the coordinator receives is added to <paramref name="received"/>, what it sends to <paramref name="sent"/>.
    /// </summary>
    public (SecureAggregationServer Server, SecureSum? Sum) Play(IReadOnlyList<int> dropStage, List<object>? received = null, List<object>? sent = null)
    {
        var clients = NewClients();
        int[] In(int stage) => [.. Enumerable.Range(0, Names.Length).Where(site => dropStage[site] > stage)];
        var server = StartServer();
        T Note<T>(T message)
        {
            received?.Add(message!);
            return message;
        }

        foreach (var site in In(0))
            server = server.Receive(Note(clients[site].AdvertiseKeys()));
        if ((server = server.CloseAdvertising()).Failure is not null)
            return (server, null);
        sent?.AddRange(In(0).Select(_ => server.Roster!));
        foreach (var site in In(1))
            server = server.Receive(Note(clients[site].ShareKeys(server.Roster!)));
        if ((server = server.CloseSharing()).Failure is not null)
            return (server, null);
        var deliveries = server.Deliveries().ToDictionary(delivery => delivery.Site);
        sent?.AddRange(deliveries.Values);
        var sum = server.OpenSum();
        foreach (var site in In(2))
            Assert.Equal(MaskedInputProgress.Complete,
                sum.Add(Note(clients[site].MaskInput(deliveries[Names[site]], Weights[site]).Mask(Updates[site]))));
        if ((server = server.CloseMaskedInput(sum.Close())).Failure is not null)
            return (server, null);
        sent?.AddRange(In(2).Select(_ => server.Survivors!));
        foreach (var site in In(3))
            server = server.Receive(Note(clients[site].SignSurvivors(server.Survivors!)));
        if ((server = server.CloseConsistencyCheck()).Failure is not null)
            return (server, null);
        sent?.AddRange(In(3).Select(_ => server.UnmaskRequest!));
        foreach (var site in In(4))
            server = server.Receive(Note(clients[site].Unmask(server.UnmaskRequest!)));
        server = server.CloseUnmasking();
        Assert.Empty(server.RefusedMessages);
        return (server, server.Failure is null ? sum.Unmask(server.Masks, Plan.Encoding) : null);
    }
}

/// <summary>Identities whose signatures are message authentication codes: quick, and enough for tests that hold all keys.</summary>
internal sealed class TestIdentities : IIdentityVerifier
{
    public IIdentitySigner SignerOf(string site) => new Signer(site);

    public bool Verify(string site, ReadOnlySpan<byte> data, ReadOnlySpan<byte> signature) => signature.SequenceEqual(SignerOf(site).Sign(data));

    private sealed class Signer(string site) : IIdentitySigner
    {
        private readonly byte[] _key = Encoding.UTF8.GetBytes("identity of " + site);

        public byte[] Sign(ReadOnlySpan<byte> data) => HMACSHA256.HashData(_key, data);
    }
}

/// <summary>The same bytes for the same seed.</summary>
internal sealed class SeededRandom(int seed) : RandomNumberGenerator
{
    private readonly Random _random = new(seed);

    public override void GetBytes(byte[] data) => _random.NextBytes(data);

    public override void GetBytes(Span<byte> data) => _random.NextBytes(data);
}

/// <summary>Diffie-Hellman in the multiplicative group of 2^61 - 1: of no security, quick, and the same for the same seed.</summary>
internal sealed class FastKeyAgreement(int seed) : IKeyAgreement
{
    private const ulong Generator = 37;
    private readonly SeededRandom _random = new(seed);

    public IAgreementKey Generate()
    {
        var privateKey = new byte[ShamirSharing.SecretBytes];
        _random.GetBytes(privateKey);
        return new Key(privateKey);
    }

    public IAgreementKey? Import(ReadOnlySpan<byte> privateKey) => new Key(privateKey.ToArray());

    public bool IsPublicKey(ReadOnlySpan<byte> publicKey) => publicKey.Length == sizeof(ulong);

    private sealed class Key(byte[] privateKey) : IAgreementKey
    {
        public byte[] PublicKey { get; } = Power(Generator, privateKey);

        public byte[] Agree(ReadOnlySpan<byte> publicKey) => Power(BinaryPrimitives.ReadUInt64LittleEndian(publicKey), privateKey);

        public byte[] ExportPrivateKey() => [.. privateKey];

        public void Dispose() => CryptographicOperations.ZeroMemory(privateKey);

        private static byte[] Power(ulong number, byte[] exponent)
        {
            var power = new byte[sizeof(ulong)];
            BinaryPrimitives.WriteUInt64LittleEndian(power, ShamirSharing.PowerModulo(number, BinaryPrimitives.ReadUInt64LittleEndian(exponent)));
            return power;
        }
    }
}

/// <summary>Real P-256, but each site gets the same pairs in each replay of a round.</summary>
internal sealed class CachedP256Pairs
{
    private readonly P256KeyAgreement _inner = new();
    private readonly Dictionary<(int Site, int Call), IAgreementKey> _pairs = [];
    private readonly Dictionary<(IAgreementKey Pair, string Peer), byte[]> _agreed = [];

    public IKeyAgreement For(int site) => new Agreement(this, site);

    private sealed class Agreement(CachedP256Pairs pool, int site) : IKeyAgreement
    {
        private int _calls;

        public IAgreementKey Generate()
        {
            var id = (site, _calls++);
            if (!pool._pairs.TryGetValue(id, out var pair))
                pool._pairs.Add(id, pair = pool._inner.Generate());
            return new Undisposed(pool, pair);
        }

        public IAgreementKey? Import(ReadOnlySpan<byte> privateKey) => pool._inner.Import(privateKey);

        public bool IsPublicKey(ReadOnlySpan<byte> publicKey) => pool._inner.IsPublicKey(publicKey);
    }

    private sealed class Undisposed(CachedP256Pairs pool, IAgreementKey pair) : IAgreementKey
    {
        public byte[] PublicKey => pair.PublicKey;
        public byte[] ExportPrivateKey() => pair.ExportPrivateKey();
        public void Dispose() { }

        public byte[] Agree(ReadOnlySpan<byte> publicKey)
        {
            var peer = Convert.ToHexString(publicKey);
            if (!pool._agreed.TryGetValue((pair, peer), out var secret))
                pool._agreed.Add((pair, peer), secret = pair.Agree(publicKey));
            return [.. secret]; // whoever gets it wipes it
        }
    }
}
