using System.Security.Cryptography;
using Sora.Model.Tokenization;
using Sora.Protocol.Blocks;
using Sora.Protocol.Jobs;

namespace Sora.Model.Data;

/// <summary>Pieces whose content is what their name says, or an error.</summary>
public static class VerifiedPieces
{
    /// <summary>Fetches the corpus's tokenizer into a folder and loads it, for a worker without a copy of the corpus.</summary>
    /// <param name="manifest">The corpus manifest, as <see cref="IPieceSource.Manifest"/> gives it.</param>
    /// <param name="fetcher">Asks the coordinator.</param>
    /// <param name="folder">Where the files go; created if need be.</param>
    /// <param name="cancellationToken">Stops it.</param>
    /// <exception cref="SoraException">A piece did not arrive whole, or the folder cannot be written.</exception>
    public static async Task<ITokenizer> FetchTokenizerAsync(
        ReadOnlyMemory<byte> manifest, IPieceFetcher fetcher, string folder, CancellationToken cancellationToken = default)
    {
        var files = CorpusManifest.Parse(manifest.Span, "The manifest the coordinator sent").Tokenizer.Files;
        var contents = new Dictionary<string, ReadOnlyMemory<byte>>();
        await FetchAsync(fetcher, [.. files.SelectMany(file => file.Pieces)], (piece, content) => contents[piece] = content.ToArray(), cancellationToken);
        DiskErrors.Explain(folder, () =>
        {
            Directory.CreateDirectory(folder);
            foreach (var file in files)
            {
                using var stream = new FileStream(Path.Combine(folder, file.Name), FileMode.Create);
                foreach (var piece in file.Pieces) stream.Write(contents[piece].Span);
            }
        });
        return TokenizerFiles.Load(folder);
    }

    /// <summary>Fetches pieces; what arrives damaged or not at all is asked for once more.</summary>
    internal static async Task FetchAsync(
        IPieceFetcher fetcher, IReadOnlyList<string> pieces, Action<string, ReadOnlyMemory<byte>> arrived, CancellationToken cancellationToken)
    {
        var missing = new HashSet<string>(pieces);
        for (var attempt = 0; attempt < 2 && missing.Count > 0; attempt++)
        {
            await foreach (var (piece, content) in fetcher.FetchAsync([.. pieces.Where(missing.Contains).Distinct()], cancellationToken))
            {
                if (!missing.Contains(piece) || Convert.ToHexStringLower(SHA256.HashData(content.Span)) != piece) continue;
                missing.Remove(piece);
                arrived(piece, content);
            }
        }
        if (missing.Count > 0)
            throw new SoraException(
                $"Piece {missing.First()} of the corpus did not arrive whole from the coordinator, twice. " +
                "Check the corpus folder there with 'sora data show FOLDER --verify'.", ExitCode.InvalidInput);
    }
}
