using Sora.Federation.Identity;
using Sora.Protocol.Jobs;

namespace Sora.Federation.Tests.Identity;

public sealed class AdmissionTests : IDisposable
{
    private static readonly DateTimeOffset Now = new(2026, 11, 24, 12, 0, 0, TimeSpan.Zero);

    private readonly TemporaryFolder _folder = new();
    private readonly IdentityKey _key = IdentityKey.Create();
    private readonly IdentityKey _other = IdentityKey.Create();

    private NamedPublicKey Site => new("a", _key.Public);

    public void Dispose()
    {
        _folder.Dispose();
        _key.Dispose();
        _other.Dispose();
    }

    [Fact]
    public void A_registered_site_is_let_in_until_it_expires()
    {
        var list = AdmissionList.Empty.Register(Site, Now, "eve", Now.AddDays(1));

        Assert.Equal("a", list.Judge(_key.Public.Fingerprint, Now).Entry!.Name);
        Assert.True(list.Judge(_key.Public.Fingerprint, Now.AddDays(1).AddTicks(-1)).IsAdmitted);
        Assert.Contains("expired", list.Judge(_key.Public.Fingerprint, Now.AddDays(1)).Refusal);
        Assert.Contains("not registered", list.Judge(_other.Public.Fingerprint, Now).Refusal);
        Assert.False(AdmissionList.Empty.Judge(_key.Public.Fingerprint, Now).IsAdmitted);
    }

    [Fact]
    public void A_revoked_key_stays_in_the_list_and_never_becomes_good_again()
    {
        var list = AdmissionList.Empty.Register(Site, Now, "eve").Revoke("a", "lost", Now.AddHours(1), "bob");

        Assert.Equal(new Revocation(Now.AddHours(1), "bob", "lost"), Assert.Single(list.Entries).Revoked);
        Assert.Contains("lost", list.Judge(_key.Public.Fingerprint, Now).Refusal);
        Assert.Contains("stays so", Assert.Throws<SoraException>(() => list.Register(Site, Now, "eve")).Message);
        Assert.Contains("already", Assert.Throws<SoraException>(() => list.Revoke("a", "again", Now, "bob")).Message);

        var renewed = list.Register(new NamedPublicKey("a", _other.Public), Now, "eve");
        Assert.True(renewed.Judge(_other.Public.Fingerprint, Now).IsAdmitted);
        Assert.False(renewed.Revoke("a", "lost too", Now, "bob").Judge(_other.Public.Fingerprint, Now).IsAdmitted);
        Assert.False(renewed.Revoke(_other.Public.Fingerprint, "by key", Now, "bob").Judge(_other.Public.Fingerprint, Now).IsAdmitted);
    }

    [Fact]
    public void Names_and_keys_are_taken_once()
    {
        var list = AdmissionList.Empty.Register(Site, Now, "eve");

        Assert.Contains("already, as 'a'", Assert.Throws<SoraException>(() => list.Register(new NamedPublicKey("b", _key.Public), Now, "eve")).Message);
        Assert.Contains("revoke the old one", Assert.Throws<SoraException>(() => list.Register(new NamedPublicKey("a", _other.Public), Now, "eve")).Message);
        Assert.Contains("Did you mean 'a'?", Assert.Throws<SoraException>(() => list.Revoke("b", "x", Now, "eve")).Message);
        Assert.Throws<SoraException>(() => AdmissionList.Empty.Register(Site, Now, "eve", Now));
    }

    [Fact]
    public void The_file_holds_what_was_changed_and_a_refused_change_leaves_it_alone()
    {
        var path = _folder.File("state/sites.json");
        var list = AdmissionFile.Change(path, before => before.Register(Site, Now, "eve"));
        AdmissionFile.Change(path, before => before.Register(new NamedPublicKey("b", _other.Public), Now, "eve", Now.AddDays(1)).Revoke("b", "\"why\"\n", Now, "bob"));
        var text = File.ReadAllText(path);

        Assert.Equal(list.Entries[0], AdmissionFile.Load(path).Entries[0]);
        Assert.Equal("\"why\"\n", AdmissionFile.Load(path).Entries[1].Revoked!.Reason);
        Assert.Throws<SoraException>(() => AdmissionFile.Change(path, before => before.Register(Site, Now, "eve")));
        Assert.Equal(text, File.ReadAllText(path));
        Assert.DoesNotContain(Directory.GetFiles(_folder.File("state")), file => file.EndsWith(".new", StringComparison.Ordinal));
    }

    [Fact]
    public void A_list_that_is_not_understood_entirely_lets_nobody_in()
    {
        var path = _folder.File("sites.json");
        AdmissionFile.Change(path, before => before.Register(Site, Now, "eve"));
        var text = File.ReadAllText(path);
        foreach (var wrong in new[]
        {
            "", "null", "{}", text[..^20],
            text.Replace("\"version\": 1", "\"version\": 2"),
            text.Replace("\"revoked\"", "\"revokd\""),
            text.Replace(_key.Public.Fingerprint, _other.Public.Fingerprint),
            text.Replace("\"a\"", "\"a b\""),
            text.Replace("\"a\"", "null"),
        })
        {
            File.WriteAllText(path, wrong);
            Assert.Equal(ExitCode.InvalidInput, Assert.Throws<SoraException>(() => AdmissionFile.Load(path)).ExitCode);
            Assert.Throws<SoraException>(() => AdmissionFile.Change(path, list => list));
            Assert.Equal(wrong, File.ReadAllText(path));
        }
        Assert.Contains("no admission list", Assert.Throws<SoraException>(() => AdmissionFile.Load(_folder.File("none.json"))).Message);
    }
}
