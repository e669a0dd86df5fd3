using System.Security.Cryptography;
using Sora.Federation.Identity;
using Sora.Protocol.Jobs;

namespace Sora.Federation.Tests.Identity;

public sealed class KeyFilesTests : IDisposable
{
    private readonly TemporaryFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Fact]
    public void A_key_survives_its_files_and_only_its_owner_can_read_the_private_one()
    {
        using var key = IdentityKey.Create();
        KeyFiles.Write(_folder.File("site.key"), key, "hospital-a");

        using var read = KeyFiles.ReadPrivate(_folder.File("site.key"));
        var sent = KeyFiles.ReadPublic(_folder.File("site.key.pub"));
        Assert.Equal("hospital-a", sent.Name);
        Assert.Equal(key.Public, sent.Key);
        Assert.True(sent.Key.Verify("text"u8, read.Sign("text"u8)));
        Assert.True(Fingerprint.IsFingerprint(sent.Key.Fingerprint));
        Assert.DoesNotContain("PRIVATE", File.ReadAllText(_folder.File("site.key.pub")));
        if (OperatingSystem.IsWindows()) return;
        Assert.Equal(UnixFileMode.UserRead | UnixFileMode.UserWrite, File.GetUnixFileMode(_folder.File("site.key")));
    }

    [Theory]
    [InlineData("site.key")]
    [InlineData("site.key.pub")]
    public void A_file_that_is_there_is_never_overwritten(string there)
    {
        File.WriteAllText(_folder.File(there), "precious");
        using var key = IdentityKey.Create();

        Assert.Contains("never overwritten", Assert.Throws<SoraException>(() => KeyFiles.Write(_folder.File("site.key"), key, "a")).Message);
        Assert.Equal("precious", File.ReadAllText(_folder.File(there)));
        Assert.Single(Directory.GetFiles(_folder.Path));
    }

    [Fact]
    public void A_private_key_that_others_can_read_is_refused()
    {
        Assert.SkipWhen(OperatingSystem.IsWindows(), "Windows has no modes.");
        using var key = IdentityKey.Create();
        KeyFiles.Write(_folder.File("site.key"), key, "a");
        if (!OperatingSystem.IsWindows()) File.SetUnixFileMode(_folder.File("site.key"), UnixFileMode.UserRead | UnixFileMode.GroupRead);

        Assert.Contains("chmod 600", Assert.Throws<SoraException>(() => KeyFiles.ReadPrivate(_folder.File("site.key"))).Message);
    }

    [Fact]
    public void A_public_file_whose_key_was_exchanged_is_refused()
    {
        using var key = IdentityKey.Create();
        using var other = IdentityKey.Create();
        KeyFiles.Write(_folder.File("a.key"), key, "a");
        File.WriteAllText(_folder.File("b.pub"), File.ReadAllText(_folder.File("a.key.pub")).Replace(key.Public.Pem, other.Public.Pem));

        Assert.Contains("was changed", Assert.Throws<SoraException>(() => KeyFiles.ReadPublic(_folder.File("b.pub"))).Message);
        Assert.Contains("no public key", Assert.Throws<SoraException>(() => KeyFiles.ReadPublic(_folder.File("a.key"))).Message);
        File.WriteAllText(_folder.File("c.pub"), key.Public.Pem);
        Assert.Contains("'site: NAME' is missing", Assert.Throws<SoraException>(() => KeyFiles.ReadPublic(_folder.File("c.pub"))).Message);
        Assert.Throws<SoraException>(() => KeyFiles.ReadPublic(_folder.File("none.pub")));
    }

    [Fact]
    public void Keys_of_other_kinds_are_no_identities()
    {
        using var other = ECDsa.Create(ECCurve.NamedCurves.nistP384);
        using var rsa = RSA.Create(2048);
        using var key = IdentityKey.Create();

        Assert.Throws<SoraException>(() => PublicKey.Import(other.ExportSubjectPublicKeyInfo()));
        Assert.Throws<SoraException>(() => PublicKey.Import(rsa.ExportSubjectPublicKeyInfo()));
        Assert.Throws<SoraException>(() => PublicKey.Import([.. key.Public.SubjectPublicKeyInfo.Span, 0]));
        Assert.Throws<SoraException>(() => IdentityKey.FromPem(other.ExportPkcs8PrivateKeyPem()));
        Assert.Throws<SoraException>(() => IdentityKey.FromPem(key.Public.Pem));
        Assert.Throws<SoraException>(() => IdentityKey.FromPem("no key"));
    }

    [Theory]
    [InlineData("../a")]
    [InlineData("a b")]
    [InlineData("")]
    [InlineData("a\nb")]
    public void What_cannot_name_a_site_is_refused(string name)
    {
        using var key = IdentityKey.Create();

        Assert.Throws<SoraException>(() => KeyFiles.Write(_folder.File("site.key"), key, name));
        Assert.Empty(Directory.GetFiles(_folder.Path));
    }
}
