using CsCheck;
using Sora.Federation.Rounds;
using Sora.Protocol.Jobs;
using Sora.Worker.Sites;

namespace Sora.Worker.Tests.Sites;

public sealed class SiteJournalTests : IDisposable
{
    private static readonly SiteRecord[] Records =
    [
        new SiteDecided(new RoundTaken(new RoundKey(1, 1))),
        new ReleaseReserved(new RoundKey(1, 1), 3),
        new SiteDecided(new UpdateReady(new UpdateOffer(new UpdateId(new RoundKey(1, 1), "hospital-a", new string('a', 64)), 4000, 500, double.NaN))),
        new SiteDecided(new RoundLeft(new RoundKey(1, 1))),
        new ReleaseReturned(new RoundKey(2, 1)),
        new RunLeft("the run is finished"),
    ];

    private readonly DirectoryInfo _folder = Directory.CreateTempSubdirectory("sora-journal-");

    private string FilePath => Path.Combine(_folder.FullName, "journal");

    public void Dispose() => _folder.Delete(recursive: true);

    [Fact]
    public void What_was_appended_is_there_when_it_is_opened_again()
    {
        Write();
        Assert.Equal(Records, SiteJournal.ReadOnly(FilePath));
        using var journal = SiteJournal.Open(FilePath);

        Assert.Equal(Records, journal.Records);
    }

    [Fact]
    public void Cut_anywhere_it_has_every_whole_record_and_goes_on()
    {
        Write();
        var bytes = File.ReadAllBytes(FilePath);
        for (var length = 0; length < bytes.Length; length++)
        {
            File.WriteAllBytes(FilePath, bytes[..length]);
            using (var journal = SiteJournal.Open(FilePath))
            {
                Assert.Equal(Records.Take(journal.Records.Count), journal.Records);
                journal.Append(Records[^1]);
            }
            using var again = SiteJournal.Open(FilePath);
            Assert.Equal(Records[^1], again.Records[^1]);
        }
    }

    [Fact]
    public void Bytes_changed_before_the_last_record_are_noticed()
    {
        Write();
        var bytes = File.ReadAllBytes(FilePath);
        var last = bytes.Length - 30;
        Gen.Select(Gen.Int[0, last - 1], Gen.Byte[1, 255]).Sample(
            change =>
            {
                var damaged = (byte[])bytes.Clone();
                damaged[change.Item1] ^= change.Item2;
                File.WriteAllBytes(FilePath, damaged);
                try
                {
                    using var journal = SiteJournal.Open(FilePath);
                    // A length that now points beyond the end looks like a torn record: what is left must be a beginning.
                    Assert.Equal(Records.Take(journal.Records.Count), journal.Records);
                    return journal.Records.Count < Records.Length;
                }
                catch (SoraException e)
                {
                    return e.ExitCode == ExitCode.InvalidInput && e.Message.Contains("damaged");
                }
            },
            iter: 300, threads: 1);
    }

    [Fact]
    public void Only_one_process_writes()
    {
        using var journal = SiteJournal.Open(FilePath);

        Assert.Throws<SoraException>(() => SiteJournal.Open(FilePath));
    }

    private void Write()
    {
        using var journal = SiteJournal.Open(FilePath);
        foreach (var record in Records)
            journal.Append(record);
    }
}
