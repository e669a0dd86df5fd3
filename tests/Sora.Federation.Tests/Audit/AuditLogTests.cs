using System.Security.Cryptography;
using System.Text;
using CsCheck;
using Microsoft.Extensions.Time.Testing;
using Sora.Federation.Audit;
using Sora.Federation.Identity;
using Sora.Federation.Policies;
using Sora.Federation.Tests.Policies;
using Sora.Protocol.Jobs;

namespace Sora.Federation.Tests.Audit;

public sealed class AuditLogTests : IDisposable
{
    private readonly TemporaryFolder _folder = new();
    private readonly FakeTimeProvider _time = new(new DateTimeOffset(2026, 11, 24, 12, 0, 0, TimeSpan.Zero));
    private readonly IdentityKey _key = IdentityKey.Create();

    private string LogPath => _folder.File("audit.jsonl");

    public void Dispose()
    {
        _folder.Dispose();
        _key.Dispose();
    }

    private AuditLog Open(IdentityKey? key = null, int every = 4) => AuditLog.Open(LogPath, "site a", _time, key, every);

    /// <summary>A log with entries of every sort.</summary>
    /// <returns>Its head.</returns>
    private string Fill(IdentityKey? key = null, int every = 4)
    {
        using var log = Open(key, every);
        log.Append(new PeerJoined("run", "coordinator", "sha256:c"));
        log.Append(new RoundAsked(PolicyJudgeTests.Fair));
        log.Append(new RoundDecided("chest-1", 3, true, []));
        log.Append(new MessageSent("chest-1", 3, "coordinator", SiteMessages.MaskedUpdate, 4096, new string('a', 64)));
        log.Append(new PrivacySpent("chest-1", 3, 0.5, 1e-6));
        log.Append(new UpdateRejected("chest-1", 3, "b", "not finite: \"NaN\"\n"));
        log.Append(new PrivacySpent("chest-1", 4, double.PositiveInfinity, 1e-6));
        log.Append(new RoundClosed("chest-1", 3, ["a", "b"], new string('b', 64)));
        return log.Head;
    }

    private AuditVerification Verify(string? head = null, PublicKey? key = null) => VerifyBytes(File.ReadAllBytes(LogPath), head, key);

    private static AuditVerification VerifyBytes(byte[] bytes, string? head = null, PublicKey? key = null) => AuditVerifier.Read(new MemoryStream(bytes), new AuditExpectations(head, key));

    private string[] Lines() => File.ReadAllText(LogPath).TrimEnd('\n').Split('\n');

    private AuditVerification VerifyLines(params string[] lines) => VerifyBytes(Encoding.UTF8.GetBytes(string.Concat(lines.Select(line => line + "\n"))));

    [Fact]
    public void A_log_tells_what_was_recorded()
    {
        var head = Fill();
        var entries = new List<AuditEntry>();
        using var file = File.OpenRead(LogPath);
        var found = AuditVerifier.Read(file, new AuditExpectations(head), entries.Add);

        Assert.Empty(found.Problems);
        Assert.Equal((9, head), (found.Entries, found.Head));
        Assert.Equal(new LogBegun("site a", null, 4), entries[0].Event);
        Assert.Equal(RoundRequestJson.Write(PolicyJudgeTests.Fair), RoundRequestJson.Write(((RoundAsked)entries[2].Event!).Request));
        Assert.Equal("not finite: \"NaN\"\n", ((UpdateRejected)entries[6].Event!).Reason);
        Assert.Equal(double.PositiveInfinity, ((PrivacySpent)entries[7].Event!).Epsilon);
        Assert.All(entries, entry => Assert.Equal(_time.GetUtcNow(), entry.Time));
        if (!OperatingSystem.IsWindows()) Assert.Equal(UnixFileMode.UserRead | UnixFileMode.UserWrite, File.GetUnixFileMode(LogPath));
    }

    [Fact]
    public void The_hash_of_a_line_is_that_of_the_line_without_it()
    {
        Fill();
        var previous = new string('0', 64);
        foreach (var line in Lines())
        {
            var at = line.LastIndexOf(",\"hash\":\"", StringComparison.Ordinal);
            var hash = Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(line[..at] + "}")));
            Assert.Equal($",\"hash\":\"{hash}\"}}", line[at..]);
            Assert.Contains($"\"prev\":\"{previous}\"", line);
            previous = hash;
        }
    }

    [Fact]
    public void Entries_are_on_the_disk_when_Append_returns_and_the_log_can_be_read_meanwhile()
    {
        using var log = Open();
        log.Append(new PeerJoined("run", "a", "sha256:a"));

        using var reader = new FileStream(LogPath, FileMode.Open, FileAccess.Read, FileShare.ReadWrite);
        Assert.Equal(log.Head, AuditVerifier.Read(reader, new AuditExpectations()).Head);
        Assert.Contains("cannot be opened", Assert.Throws<SoraException>(() => Open()).Message);
    }

    [Fact]
    public void A_log_goes_on_where_it_ended()
    {
        Fill();
        using (var log = Open()) log.Append(new PeerLeft("run", "coordinator", "done"));

        Assert.True(Verify().IsSound);
        Assert.Equal(10, Verify().Entries);
    }

    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    [InlineData(5)]
    public void A_torn_end_is_found_healed_and_the_healing_is_recorded(int whole)
    {
        Fill(_key);
        var bytes = File.ReadAllBytes(LogPath);
        var ends = bytes.Select((value, at) => (value, at)).Where(pair => pair.value == '\n').Select(pair => pair.at + 1).ToArray();
        foreach (var extra in new[] { 1, 40, ends[whole] - (whole == 0 ? 0 : ends[whole - 1]) - 1 })
        {
            var end = (whole == 0 ? 0 : ends[whole - 1]) + extra;
            File.WriteAllBytes(LogPath, bytes[..end]);
            Assert.Contains("is torn", Verify().Problems[0].Message);
            Assert.Equal(whole + 1, Verify().Problems[0].Line);

            using (Open(_key)) { }
            Assert.Empty(Verify(key: _key.Public).Problems);
            var healed = Lines().Single(line => line.Contains("\"healed\""));
            Assert.Contains(Convert.ToBase64String(bytes[(end - extra)..end]), healed);
            Assert.Contains($"\"bytes\":{extra}", healed);
        }
    }

    [Fact]
    public void A_log_that_was_tampered_with_is_not_written_on()
    {
        Fill();
        File.WriteAllText(LogPath, File.ReadAllText(LogPath).Replace("\"bytes\":4096", "\"bytes\":4095"));
        var before = File.ReadAllBytes(LogPath);

        var error = Assert.Throws<SoraException>(() => Open());
        Assert.Contains("line 5 was edited", error.Message);
        Assert.Equal(before, File.ReadAllBytes(LogPath));
    }

    [Fact]
    public void Any_single_mutation_is_found()
    {
        var head = Fill(_key);
        var bytes = File.ReadAllBytes(LogPath);
        Assert.True(VerifyBytes(bytes, head, _key.Public).IsSound);

        // A byte changed, taken out, put in or repeated; a stretch taken out, repeated or moved.
        Gen.Select(Gen.Int[0, 4], Gen.Int[0, bytes.Length - 1], Gen.Byte[1, 255], Gen.Int[1, 600], Gen.Int[0, bytes.Length - 1]).Sample((how, at, value, length, to) =>
        {
            length = Math.Min(length, bytes.Length - at);
            var stretch = bytes.AsSpan(at, length);
            byte[] mutated = how switch
            {
                0 => [.. bytes[..at], (byte)(bytes[at] ^ value), .. bytes[(at + 1)..]],
                1 => [.. bytes[..at], value, .. bytes[at..]],
                2 => [.. bytes[..at], .. bytes[(at + length)..]],
                3 => [.. bytes[..(at + length)], .. stretch, .. bytes[(at + length)..]],
                _ => Move(bytes, at, length, to),
            };
            if (mutated.AsSpan().SequenceEqual(bytes)) return;
            Assert.False(VerifyBytes(mutated, head, _key.Public).IsSound);
            // What only a known head shows is a clean cut after a line.
            var isCut = bytes.AsSpan().StartsWith(mutated) && mutated.Length > 0 && mutated[^1] == '\n';
            if (!isCut) Assert.False(VerifyBytes(mutated).IsSound);
        }, iter: 300);

        static byte[] Move(byte[] bytes, int at, int length, int to)
        {
            byte[] rest = [.. bytes[..at], .. bytes[(at + length)..]];
            to = Math.Min(to, rest.Length);
            return [.. rest[..to], .. bytes[at..(at + length)], .. rest[to..]];
        }
    }

    [Fact]
    public void Any_line_removed_repeated_swapped_or_put_in_is_found_and_named()
    {
        Fill();
        var lines = Lines();
        for (var at = 0; at < lines.Length; at++)
        {
            var number = at + 1;
            if (at < lines.Length - 1)
            {
                var removed = VerifyLines([.. lines[..at], .. lines[(at + 1)..]]).Problems;
                Assert.Contains($"line {number} is entry {number + 1}, and an entry is missing before it", removed[0].ToString());
                string[] exchanged = [.. lines];
                (exchanged[at], exchanged[at + 1]) = (exchanged[at + 1], exchanged[at]);
                Assert.Contains($"line {number + 1} is entry {number}, which belongs before entry {number + 1}", VerifyLines(exchanged).Problems.Select(problem => problem.ToString()).Last(text => text.Contains("belongs")));
            }
            var repeated = Assert.Single(VerifyLines([.. lines[..(at + 1)], .. lines[at..]]).Problems);
            Assert.StartsWith($"line {number + 1} repeats entry {number}", repeated.ToString());
            var empty = Assert.Single(VerifyLines([.. lines[..at], "", .. lines[at..]]).Problems);
            Assert.Equal($"line {number} is empty", empty.ToString());
            var edited = Assert.Single(VerifyLines([.. lines[..at], lines[at].Replace("2026", "2025"), .. lines[(at + 1)..]]).Problems, problem => problem.Line == number);
            Assert.Contains("was edited", edited.Message);
        }
    }

    [Fact]
    public void A_line_that_was_edited_and_hashed_again_does_not_fit_the_next_one()
    {
        Fill();
        var lines = Lines();
        lines[4] = Rehash(lines[4].Replace("\"bytes\":4096", "\"bytes\":4095"));

        Assert.Equal("line 6 does not continue the entry before it: one of the two was replaced", Assert.Single(VerifyLines(lines).Problems).ToString());
    }

    [Fact]
    public void What_was_cut_off_the_end_is_found_by_whoever_knows_a_later_head()
    {
        var head = Fill();
        var lines = Lines();

        Assert.True(VerifyLines(lines[..5]).IsSound);
        var cut = VerifyBytes(Encoding.UTF8.GetBytes(string.Concat(lines[..5].Select(line => line + "\n"))), head);
        Assert.Contains("its end was cut off", Assert.Single(cut.Problems).Message);
        Assert.Contains("empty", VerifyBytes([]).Problems[0].Message);
        using (var log = Open()) log.Append(new PeerLeft("run", "a", "done"));
        Assert.True(Verify(head).IsSound); // a head that was known once stays good
    }

    [Fact]
    public void A_log_written_anew_without_the_key_is_found_by_its_checkpoints()
    {
        Fill(_key, every: 3);
        Assert.Empty(Verify(key: _key.Public).Problems);
        Assert.Equal(3, Verify().Checkpoints);
        using var other = IdentityKey.Create();
        Assert.NotEmpty(Verify(key: other.Public).Problems);

        // All over again, with something left out, by somebody who has no key, or another one.
        File.Delete(LogPath);
        Fill(other, every: 3);
        Assert.True(Verify().IsSound);
        Assert.Contains("signs this log", Verify(key: _key.Public).Problems[0].Message);
        File.Delete(LogPath);
        Fill(every: 3);
        Assert.False(Verify(key: _key.Public).IsSound);
    }

    [Fact]
    public void A_signed_log_whose_later_lines_were_written_anew_lacks_a_checkpoint()
    {
        Fill(_key, every: 3);
        var lines = Lines().ToList();
        var kept = lines.FindLastIndex(line => line.Contains("\"kind\":\"checkpoint\"")) + 1;
        lines.RemoveRange(kept, lines.Count - kept);
        for (var i = 0; i < 4; i++) lines.Add(Forge(lines[^1], lines.Count + 1));

        Assert.True(VerifyLines([.. lines]).IsSound);
        var problem = Assert.Single(VerifyBytes(Encoding.UTF8.GetBytes(string.Concat(lines.Select(line => line + "\n"))), key: _key.Public).Problems);
        Assert.Equal((lines.Count, true), (problem.Line, problem.Message.Contains("no checkpoint")));
    }

    [Fact]
    public void A_log_goes_on_only_with_its_own_key()
    {
        Fill(_key);
        using var other = IdentityKey.Create();

        Assert.Contains("is signed by", Assert.Throws<SoraException>(() => Open(other)).Message);
        Assert.Contains("not by nobody", Assert.Throws<SoraException>(() => Open()).Message);
        using (var log = Open(_key)) log.Append(new PeerLeft("run", "a", "done"));
        Assert.Empty(Verify(key: _key.Public).Problems);
    }

    [Fact]
    public void A_crash_at_any_byte_leaves_a_log_that_goes_on_and_keeps_every_whole_entry()
    {
        Fill(_key, every: 2);
        var bytes = File.ReadAllBytes(LogPath);

        Gen.Int[0, bytes.Length].Sample(end =>
        {
            using var folder = new TemporaryFolder();
            var path = folder.File("audit.jsonl");
            File.WriteAllBytes(path, bytes[..end]);
            var whole = bytes.Take(end).Count(value => value == '\n');
            string head;
            using (var log = AuditLog.Open(path, "site a", _time, _key, 2))
            {
                log.Append(new PeerJoined("run", "b", "sha256:b"));
                head = log.Head;
            }
            var found = VerifyBytes(File.ReadAllBytes(path), head, _key.Public);
            Assert.Empty(found.Problems);
            Assert.True(found.Entries > whole);
            Assert.Equal(bytes[..(Array.LastIndexOf(bytes, (byte)'\n', Math.Max(0, end - 1)) + 1)], File.ReadAllBytes(path)[..(Array.LastIndexOf(bytes, (byte)'\n', Math.Max(0, end - 1)) + 1)]);
        }, iter: 60);
    }

    private static string Rehash(string line)
    {
        var body = line[..line.LastIndexOf(",\"hash\":\"", StringComparison.Ordinal)] + "}";
        return $"{body[..^1]},\"hash\":\"{Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(body)))}\"}}";
    }

    private static string Forge(string before, int sequence) => Rehash(
        $$"""{"v":1,"seq":{{sequence}},"time":"2026-11-24T12:00:00.0000000Z","prev":"{{before[^66..^2]}}","kind":"left","fields":{"run":"r","name":"a","reason":"forged"},"hash":""}""");
}
