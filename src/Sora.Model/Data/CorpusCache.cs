using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using Sora.Model.Data.Sources;
using Sora.Model.Tokenization;
using Sora.Protocol.Jobs;

namespace Sora.Model.Data;

/// <summary>
/// Corpora prepared on the way to a training run, kept for the next one. The folder's name is a hash of all that can change its
/// content: the inputs (size and time of the last change of files, content hash of downloads), the tokenizer, the text field, the
/// split and the format's version.
/// </summary>
public static class CorpusCache
{
    private static readonly TimeSpan LockPoll = TimeSpan.FromMilliseconds(200);

    /// <summary>The corpus a job asks for: a prepared folder where it names one, else one from the cache, prepared first if need be.</summary>
    /// <param name="data">What to read.</param>
    /// <param name="tokenizer">How text becomes tokens; a prepared folder brings its own.</param>
    /// <param name="progress">Told how far a preparation is, from several threads.</param>
    /// <param name="time">The clock; null: the system's.</param>
    /// <param name="cancellationToken">Stops a preparation and removes what was written.</param>
    /// <exception cref="SoraException">An input or the cache folder cannot be used; the message says why.</exception>
    public static async Task<PreparedCorpus> GetAsync(
        DataSettings data, TokenizerSettings tokenizer, IProgress<PrepareProgress>? progress = null, TimeProvider? time = null, CancellationToken cancellationToken = default)
    {
        if (data.Train is [var only] && !InputList.IsUrl(only) && PreparedCorpus.IsAt(only)) return PreparedCorpus.Open(only);

        progress?.Report(new(PreparePhase.Finding));
        var root = Root(data);
        using var downloads = new Downloads(root, time);
        var inputs = await InputList.FindAsync(data, downloads, progress, cancellationToken);
        var folder = Path.Combine(root, "corpora", Key(inputs, data, tokenizer));

        using var claim = await ClaimAsync(folder, progress, time ?? TimeProvider.System, cancellationToken);
        if (OpenOrDiscard(folder, progress) is { } prepared) return prepared;
        return await new CorpusPreparer().PrepareAsync(data, tokenizer, inputs, folder, claim, progress, cancellationToken);
    }

    /// <summary>The corpus that <see cref="GetAsync"/> would give, if it is there already. Nothing is prepared or downloaded.</summary>
    /// <exception cref="SoraException">An input cannot be used; the message says why.</exception>
    public static async Task<PreparedCorpus?> FindAsync(DataSettings data, TokenizerSettings tokenizer, CancellationToken cancellationToken = default)
    {
        if (data.Train.Any(InputList.IsUrl)) return null;
        if (data.Train is [var only] && PreparedCorpus.IsAt(only)) return PreparedCorpus.Open(only);
        var root = Root(data);
        using var downloads = new Downloads(root);
        var inputs = await InputList.FindAsync(data, downloads, progress: null, cancellationToken);
        var folder = Path.Combine(root, "corpora", Key(inputs, data, tokenizer));
        return PreparedCorpus.IsAt(folder) ? PreparedCorpus.Open(folder) : null;
    }

    /// <summary>The cache folder: <see cref="DataSettings.CacheDir"/>, or the user's.</summary>
    public static string Root(DataSettings data)
    {
        if (data.CacheDir.Length > 0) return Path.GetFullPath(data.CacheDir);
        if (OperatingSystem.IsWindows()) return Path.Combine(Environment.GetFolderPath(Environment.SpecialFolder.LocalApplicationData), "sora", "cache");
        return Environment.GetEnvironmentVariable("XDG_CACHE_HOME") is { Length: > 0 } cache
            ? Path.Combine(cache, "sora")
            : Path.Combine(Environment.GetFolderPath(Environment.SpecialFolder.UserProfile), ".cache", "sora");
    }

    private static PreparedCorpus? OpenOrDiscard(string folder, IProgress<PrepareProgress>? progress)
    {
        if (!PreparedCorpus.IsAt(folder)) return null;
        try
        {
            return PreparedCorpus.Open(folder);
        }
        catch (SoraException e)
        {
            progress?.Report(new(PreparePhase.Finding, Message: e.Message));
            DiskErrors.Explain(folder, () => Directory.Delete(folder, recursive: true));
            return null;
        }
    }

    private static string Key(IReadOnlyList<CorpusInput> inputs, DataSettings data, TokenizerSettings tokenizer)
    {
        var description = new StringBuilder()
            .AppendLine(CultureInfo.InvariantCulture, $"format {CorpusManifest.CurrentFormatVersion}")
            .AppendLine(CultureInfo.InvariantCulture, $"tokenizer {tokenizer.Type} {tokenizer.VocabSize} {TokenizerFileHash(tokenizer)}")
            .AppendLine(CultureInfo.InvariantCulture, $"field {data.TextField}")
            .AppendLine(CultureInfo.InvariantCulture, $"split {data.ValidationSplit:R}");
        foreach (var source in data.Train) description.AppendLine(CultureInfo.InvariantCulture, $"source {source}");
        foreach (var input in inputs) description.AppendLine(CultureInfo.InvariantCulture, $"input {input.Stamp}");
        return Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(description.ToString())))[..32];
    }

    private static string TokenizerFileHash(TokenizerSettings tokenizer)
    {
        if (tokenizer.Type != TokenizerKind.File) return "";
        var folder = Directory.Exists(tokenizer.Path) ? tokenizer.Path : Path.GetDirectoryName(Path.GetFullPath(tokenizer.Path))!;
        var file = Directory.Exists(tokenizer.Path) ? Path.Combine(folder, TokenizerJson.FileName) : tokenizer.Path;
        return string.Join(' ', new[] { file, Path.Combine(folder, TokenizerJson.ConfigFileName) }
            .Where(File.Exists).Select(path => Convert.ToHexStringLower(SHA256.HashData(File.ReadAllBytes(path)))));
    }

    /// <summary>Waits until no other process prepares the same corpus.</summary>
    private static async Task<FolderClaim> ClaimAsync(string folder, IProgress<PrepareProgress>? progress, TimeProvider time, CancellationToken cancellationToken)
    {
        for (var told = false; ; told = true)
        {
            if (FolderClaim.TryTake(folder) is { } claim) return claim;
            if (!told) progress?.Report(new(PreparePhase.Finding, Message: "Another run is preparing the same corpus; waiting for it."));
            await Task.Delay(LockPoll, time, cancellationToken);
        }
    }
}
