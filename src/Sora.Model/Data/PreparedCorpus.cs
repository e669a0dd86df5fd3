using System.Security.Cryptography;
using Sora.Protocol.Jobs;

namespace Sora.Model.Data;

/// <summary>A folder made by <c>sora data prepare</c>, opened for reading: its manifest and its tokens, memory-mapped.</summary>
public sealed class PreparedCorpus : IDisposable
{
    private readonly MappedShard[] _train;
    private readonly MappedShard[] _validation;

    private PreparedCorpus(string folder, byte[] manifestBytes, CorpusManifest manifest)
    {
        Folder = folder;
        ManifestBytes = manifestBytes;
        Manifest = manifest;
        Hash = CorpusManifest.HashOf(manifestBytes);
        _train = [.. manifest.Train.Shards.Select(Map)];
        _validation = [.. manifest.Validation.Shards.Select(Map)];
    }

    /// <summary>The folder, as an absolute path.</summary>
    public string Folder { get; }

    /// <summary>What is in it.</summary>
    public CorpusManifest Manifest { get; }

    /// <summary>The manifest as it lies on disk.</summary>
    public ReadOnlyMemory<byte> ManifestBytes { get; }

    /// <summary>SHA-256 of the manifest: names the corpus.</summary>
    public string Hash { get; }

    /// <summary>Whether a folder holds a prepared corpus.</summary>
    public static bool IsAt(string folder) => File.Exists(Path.Combine(folder, CorpusManifest.FileName));

    /// <summary>Opens a folder and checks that every file is there with the size the manifest gives. See <see cref="Verify"/> for the content.</summary>
    /// <exception cref="SoraException">The folder does not hold a whole corpus.</exception>
    public static PreparedCorpus Open(string folder)
    {
        folder = Path.GetFullPath(folder);
        var path = Path.Combine(folder, CorpusManifest.FileName);
        if (!File.Exists(path))
            throw new SoraException($"{folder} is not a prepared corpus: it has no {CorpusManifest.FileName}. Make one with 'sora data prepare INPUT -o {folder}'.", ExitCode.InvalidInput);

        var bytes = File.ReadAllBytes(path);
        var manifest = CorpusManifest.Parse(bytes, path);
        foreach (var file in manifest.Files)
        {
            var info = new FileInfo(Path.Combine(folder, file.Name));
            if (!info.Exists || info.Length != file.Bytes)
                throw new SoraException(
                    $"The corpus in {folder} is damaged: {file.Name} {(info.Exists ? $"has {info.Length:N0} bytes" : "is missing")}, but the manifest says {file.Bytes:N0} bytes. Prepare it again.",
                    ExitCode.InvalidInput);
        }
        return new(folder, bytes, manifest);
    }

    /// <summary>Reads every byte and compares it with the manifest.</summary>
    /// <exception cref="SoraException">A file differs; its name is in the message.</exception>
    public void Verify(CancellationToken cancellationToken = default)
    {
        foreach (var file in Manifest.Files)
        {
            cancellationToken.ThrowIfCancellationRequested();
            using var stream = File.OpenRead(Path.Combine(Folder, file.Name));
            if (Convert.ToHexStringLower(SHA256.HashData(stream)) != file.Sha256)
                throw new SoraException($"The corpus in {Folder} is damaged: the content of {file.Name} is not what the manifest says. Prepare it again.", ExitCode.InvalidInput);
        }
    }

    /// <summary>Copies tokens of a training shard.</summary>
    public void ReadTrain(int shard, long offset, Span<int> tokens) => _train[shard].Read(offset, tokens);

    /// <summary>Copies tokens of a held-out shard.</summary>
    public void ReadValidation(int shard, long offset, Span<int> tokens) => _validation[shard].Read(offset, tokens);

    /// <inheritdoc />
    public void Dispose()
    {
        foreach (var shard in _train.Concat(_validation)) shard.Dispose();
    }

    private MappedShard Map(ManifestShard shard) => new(Path.Combine(Folder, shard.File.Name), shard.Tokens, Manifest.TokenBytes);
}
