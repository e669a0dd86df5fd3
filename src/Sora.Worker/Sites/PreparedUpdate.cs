using System.IO.Hashing;
using System.Security.Cryptography;
using System.Text;
using Sora.Federation.Aggregation.Updates;
using Sora.Federation.Rounds;
using Sora.Protocol.Jobs;

namespace Sora.Worker.Sites;

/// <summary>An update on the disk, encoded as it will travel: whatever happens to connections and processes, these bytes are sent and no others.</summary>
internal sealed class PreparedUpdate
{
    private readonly string _path;

    private PreparedUpdate(string path, UpdateManifest manifest) => (_path, Manifest) = (path, manifest);

    /// <summary>What to announce before the first chunk.</summary>
    public UpdateManifest Manifest { get; }

    /// <summary>Encodes an update into the folder; when this returns it is on the disk.</summary>
    public static UpdateOffer Write(string folder, SiteAssignment assignment, RoundAnnounced round, LocalUpdate update, double loss)
    {
        var path = PathOf(folder, round.Round);
        var encoding = EncodingOf(assignment.Run.Settings.Quantization);
        var chunkBytes = UpdateCodec.EncodedBytes(encoding, round.Chunks.ChunkParameters);
        if (chunkBytes > UpdateManifest.MaxChunkBytes || (round.Chunks.Chunks > 1 && round.Chunks.ChunkParameters % UpdateCodec.BlockValues != 0))
            throw new SoraException($"Chunks of {round.Chunks.ChunkParameters} parameters cannot be sent: they must be a multiple of {UpdateCodec.BlockValues} and at most {UpdateManifest.MaxChunkBytes >> 20} MiB.", ExitCode.InvalidInput);
        Directory.CreateDirectory(folder);
        // The chance of rounding is the round's own, so that errors of many sites and rounds cancel.
        var seed = XxHash3.HashToUInt64(Encoding.UTF8.GetBytes($"{assignment.Run.Run}/{assignment.Site}/{round.Round}"));
        var encoded = EncodedUpdate.Create(path + ".new", assignment.Site, round.Round.Round, update.Weight, update.Values, encoding, RoundingMode.Stochastic, seed, (int)chunkBytes);
        Flush(path + ".new");
        File.WriteAllBytes(path + ".manifest", encoded.Manifest.Write());
        Flush(path + ".manifest");
        File.Move(path + ".new", path, overwrite: true);
        var id = new UpdateId(round.Round, assignment.Site, Convert.ToHexStringLower(encoded.Manifest.Hash.Span));
        return new UpdateOffer(id, encoded.Manifest.Bytes, update.Weight, loss);
    }

    /// <summary>Opens the update that was offered.</summary>
    /// <exception cref="SoraException">It is not there any more, or damaged.</exception>
    public static PreparedUpdate Open(string folder, UpdateOffer offer)
    {
        var path = PathOf(folder, offer.Id.Round);
        try
        {
            var manifest = UpdateManifest.Read(File.ReadAllBytes(path + ".manifest"));
            using var file = File.OpenRead(path);
            if (file.Length != offer.Bytes || Convert.ToHexStringLower(SHA256.HashData(file)) != offer.Id.Sha256 || Convert.ToHexStringLower(manifest.Hash.Span) != offer.Id.Sha256)
                throw new SoraException($"The update {path} is damaged, and another one must not be made.", ExitCode.InvalidInput);
            return new PreparedUpdate(path, manifest);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new SoraException($"The update {path} cannot be read, and another one must not be made: {e.Message}", ExitCode.Failure, e);
        }
    }

    /// <summary>The bytes of one chunk.</summary>
    public byte[] ReadChunk(int chunk)
    {
        var bytes = new byte[Manifest.ChunkLength(chunk)];
        using var file = new FileStream(_path, FileMode.Open, FileAccess.Read, FileShare.Read | FileShare.Delete, bufferSize: 1);
        file.Position = Manifest.ChunkOffset(chunk);
        file.ReadExactly(bytes);
        return bytes;
    }

    /// <summary>Removes the update of an attempt that is over.</summary>
    public static void Forget(string folder, RoundKey round)
    {
        var path = PathOf(folder, round);
        foreach (var file in new[] { path, path + ".manifest", path + ".new" })
        {
            if (File.Exists(file))
                File.Delete(file);
        }
    }

    private static string PathOf(string folder, RoundKey round) => Path.Combine(folder, $"{round.Round}-{round.Attempt}.update");

    private static UpdateEncoding EncodingOf(UpdateQuantization quantization) => quantization switch
    {
        UpdateQuantization.Fp32 => UpdateEncoding.Float32,
        UpdateQuantization.Fp16 => UpdateEncoding.Float16,
        UpdateQuantization.Int8 => UpdateEncoding.Int8,
        _ => throw new ArgumentOutOfRangeException(nameof(quantization), quantization, "unknown quantization"),
    };

    private static void Flush(string path)
    {
        using var file = new FileStream(path, FileMode.Open, FileAccess.ReadWrite);
        file.Flush(flushToDisk: true);
    }
}
