using System.Security.Cryptography;
using Sora.Federation.Identity;
using Sora.Protocol.Jobs;

namespace Sora.Coordinator.Federations;

/// <summary>Who this coordinator is to sites, and which sites it lets in. The key is made when it is first needed; the list is read again each time.</summary>
internal sealed class CoordinatorIdentity(CoordinatorOptions options) : IDisposable
{
    // Sites answer a challenge within moments; what a lifetime's worth of them costs to remember is small.
    private static readonly TimeSpan ChallengeLifetime = TimeSpan.FromMinutes(1);
    private const int RememberedChallenges = 10_000;

    private readonly Lazy<IdentityKey> _key = new(() => ReadOrCreate(options.IdentityPath));

    /// <summary>The coordinator's key.</summary>
    /// <exception cref="SoraException">It can be neither read nor made.</exception>
    public IdentityKey Key => _key.Value;

    public Challenges Challenges { get; } = new(RandomNumberGenerator.GetBytes(32), options.Time, ChallengeLifetime, RememberedChallenges);

    /// <summary>The names on the list when it was last read.</summary>
    public IReadOnlyList<string> RegisteredNames { get; private set; } = [];

    public DateTimeOffset Now => options.Time.GetUtcNow();

    public byte[] Challenge() => Challenges.Issue(RandomNumberGenerator.GetBytes(Challenges.RandomLength));

    /// <summary>Reads who is let in now. Without a file, nobody.</summary>
    /// <exception cref="SoraException">The file is not sound.</exception>
    public AdmissionList ReadAdmissions()
    {
        var list = File.Exists(options.AdmissionsPath) ? AdmissionFile.Load(options.AdmissionsPath) : AdmissionList.Empty;
        RegisteredNames = [.. list.Entries.Select(entry => entry.Name)];
        return list;
    }

    public void Dispose()
    {
        if (_key.IsValueCreated)
            _key.Value.Dispose();
    }

    private static IdentityKey ReadOrCreate(string path)
    {
        if (File.Exists(path))
            return KeyFiles.ReadPrivate(path);
        var made = IdentityKey.Create();
        try
        {
            KeyFiles.Write(path, made, "coordinator");
            return made;
        }
        catch (SoraException) when (File.Exists(path))
        {
            made.Dispose();
            return KeyFiles.ReadPrivate(path); // another coordinator with the same folder was first
        }
    }
}
