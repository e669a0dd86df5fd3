using Sora.Cli.Display;
using Sora.Model.Data;

namespace Sora.Cli.Data;

/// <summary>A corpus in the words of an event.</summary>
internal static class CorpusSummary
{
    public static DataReady Of(PreparedCorpus corpus) => new(
        corpus.Folder, corpus.Hash, corpus.Manifest.Train.Documents + corpus.Manifest.Validation.Documents,
        corpus.Manifest.Train.Tokens, corpus.Manifest.Validation.Tokens);
}
