using System.Globalization;
using Sora.Protocol.Jobs;

namespace Sora.Model.Checkpoints.Storage;

/// <summary>A place in a bucket: <c>s3://bucket/prefix</c>.</summary>
/// <param name="Bucket">The bucket.</param>
/// <param name="Prefix">What all keys begin with, without slashes around; may be empty.</param>
public sealed record S3Location(string Bucket, string Prefix)
{
    private const string Scheme = "s3://";

    /// <summary>Whether a text is meant as one.</summary>
    public static bool Is(string text) => text.StartsWith(Scheme, StringComparison.Ordinal);

    /// <summary>Reads one.</summary>
    /// <exception cref="SoraException">It names no bucket.</exception>
    public static S3Location Parse(string text)
    {
        var parts = Is(text) ? text[Scheme.Length..].Split('/', 2) : [""];
        return parts[0].Length > 0
            ? new S3Location(parts[0], parts.Length > 1 ? parts[1].Trim('/') : "")
            : throw new SoraException($"'{text}' names no bucket: write s3://BUCKET/PREFIX, for example s3://models/my-run.", ExitCode.Usage);
    }

    /// <summary>The key of something in here.</summary>
    public string Key(string name) => Prefix.Length == 0 ? name : $"{Prefix}/{name}";

    /// <summary>The place of a checkpoint in here.</summary>
    public S3Location Checkpoint(long step) => this with { Prefix = Key(CheckpointFolder.NameOf(step)) };

    /// <summary>The run's place and the step, if this is the place of a checkpoint.</summary>
    public (S3Location Run, long Step)? AsCheckpoint()
    {
        var cut = Prefix.LastIndexOf('/') + 1;
        return CheckpointCatalog.StepOf(Prefix[cut..]) is { } step ? (this with { Prefix = Prefix[..cut].TrimEnd('/') }, step) : null;
    }

    /// <inheritdoc/>
    public override string ToString() => string.Create(CultureInfo.InvariantCulture, $"{Scheme}{Bucket}{(Prefix.Length > 0 ? "/" : "")}{Prefix}");
}
