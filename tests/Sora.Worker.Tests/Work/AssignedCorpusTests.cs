using Sora.Protocol.Jobs;
using Sora.Worker.Work;

namespace Sora.Worker.Tests.Work;

public class AssignedCorpusTests(SmallCorpus small) : IClassFixture<SmallCorpus>
{
    [Fact]
    public void A_worker_without_the_folder_reads_the_same_samples_from_the_coordinator()
    {
        var (local, localTokenizer) = Open(small.Corpus.Folder);
        var (remote, remoteTokenizer) = Open("/a/folder/of/another/machine");
        using (local)
        using (remote)
        {
            Assert.Equal(localTokenizer.VocabSize, remoteTokenizer.VocabSize);
            var (expected, actual) = (new int[2 * 17], new int[2 * 17]);
            for (var step = 0; step < 3; step++)
            {
                local.Read(step, 1, 0, expected);
                remote.Read(step, 1, 0, actual);
                Assert.Equal(expected, actual);
            }
        }
    }

    [Fact]
    public void A_folder_that_holds_another_corpus_is_not_believed()
    {
        var other = Directory.CreateDirectory(Path.Combine(small.Folder, "other")).FullName;
        foreach (var file in Directory.GetFiles(small.Corpus.Folder))
            File.Copy(file, Path.Combine(other, Path.GetFileName(file)), overwrite: true);
        File.AppendAllText(Path.Combine(other, "manifest.json"), "\n");
        var (batches, _) = Open(other);
        batches.Dispose();
        Assert.NotEmpty(Directory.GetFiles(Path.Combine(small.Folder, "tokenizer")));
    }

    [Fact]
    public void A_manifest_with_another_hash_is_refused()
    {
        var source = new SmallCorpus.GivenOut(small.Corpus) { Damage = bytes => [.. bytes, (byte)'\n'] };
        var error = Assert.Throws<SoraException>(() =>
            new AssignedCorpus(small.Options(), source, small.Folder).Open(small.Assignment(), small.Job, TestContext.Current.CancellationToken));
        Assert.Contains(small.Corpus.Hash, error.Message);
    }

    private (Sora.Model.Data.IBatchSource, Sora.Model.Tokenization.ITokenizer) Open(string folder) =>
        new AssignedCorpus(small.Options(), new SmallCorpus.GivenOut(small.Corpus), small.Folder).Open(small.Assignment(folder), small.Job, TestContext.Current.CancellationToken);
}
