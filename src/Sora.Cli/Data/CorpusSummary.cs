using System.Globalization;
using Sora.Cli.Display;
using Sora.Model.Data;
using Sora.Protocol.Runs;

namespace Sora.Cli.Data;

/// <summary>A corpus in the words of an event.</summary>
internal static class CorpusSummary
{
    public static DataReady Of(PreparedCorpus corpus) => new(
        corpus.Folder, corpus.Hash, corpus.Manifest.Train.Documents + corpus.Manifest.Validation.Documents,
        corpus.Manifest.Train.Tokens, corpus.Manifest.Validation.Tokens);

    /// <summary>Shows it, and a warning where much more text is held out than was asked.</summary>
    /// <param name="corpus">The corpus.</param>
    /// <param name="display">Where.</param>
    /// <param name="splitSetting">What to give so that nothing is held out, as the user writes it.</param>
    public static void Show(PreparedCorpus corpus, IRunDisplay display, string splitSetting)
    {
        display.Show(Of(corpus));
        if (Surplus(corpus.Manifest, splitSetting) is { } surplus) display.Show(new RunWarning(surplus));
    }

    /// <summary>What is odd about the held-out part, in words; null when nothing is.</summary>
    internal static string? Surplus(CorpusManifest manifest, string splitSetting)
    {
        var (asked, all) = (manifest.ValidationSplit, manifest.Train.TextBytes + manifest.Validation.TextBytes);
        var share = all > 0 ? manifest.Validation.TextBytes / (double)all : 0;
        return asked > 0 && share > 3 * asked && share > asked + 0.05
            ? string.Create(CultureInfo.InvariantCulture,
                $"{share:P0} of the text is held out, though {asked:P0} was asked for: documents are held out whole, and there are few or very unequal ones. Cut the text into more (a file, or a line of .jsonl, is one), or train on all of it with {splitSetting}")
            : null;
    }
}
