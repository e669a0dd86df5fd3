using System.Security.Cryptography;
using Amazon.Runtime;
using Amazon.S3;
using Amazon.S3.Model;
using Sora.Protocol.Jobs;

namespace Sora.Model.Checkpoints.Storage;

/// <summary>
/// The checkpoints of a run in S3 or a store that speaks its language. A store has no rename, so the manifest is what makes a
/// checkpoint: it is written last and removed first, and what has none is not there.
/// </summary>
public sealed partial class CheckpointBucket : IDisposable
{
    private const long DefaultPartSize = 64 << 20;
    private const string EndpointVariable = "AWS_ENDPOINT_URL";

    private readonly IAmazonS3 _client;
    private readonly long _partSize;

    internal CheckpointBucket(IAmazonS3 client, S3Location location, long partSize = DefaultPartSize) =>
        (_client, Location, _partSize) = (client, location, partSize);

    /// <summary>Where it is.</summary>
    public S3Location Location { get; }

    /// <summary>
    /// Opens a place. Credentials, region and endpoint come from where AWS's own tools look: <c>AWS_ACCESS_KEY_ID</c>,
    /// <c>AWS_SECRET_ACCESS_KEY</c>, <c>AWS_REGION</c>, <c>AWS_PROFILE</c>, the machine's role, and
    /// <c>AWS_ENDPOINT_URL</c> for other stores.
    /// </summary>
    public static CheckpointBucket Open(S3Location location)
    {
        var config = new AmazonS3Config
        {
            RetryMode = RequestRetryMode.Standard,
            MaxErrorRetry = 4,
            // Every byte is verified against the manifest anyway, and other stores know only the older kind of request.
            RequestChecksumCalculation = RequestChecksumCalculation.WHEN_REQUIRED,
            ResponseChecksumValidation = ResponseChecksumValidation.WHEN_REQUIRED,
        };
        if ((Variable($"{EndpointVariable}_S3") ?? Variable(EndpointVariable)) is { } endpoint)
        {
            config.ServiceURL = endpoint;
            config.ForcePathStyle = true;
            config.AuthenticationRegion = Variable("AWS_REGION") ?? Variable("AWS_DEFAULT_REGION") ?? "us-east-1";
        }
        return Guarded(location, () => new CheckpointBucket(new AmazonS3Client(config), location));

        static string? Variable(string name) => Environment.GetEnvironmentVariable(name) is { Length: > 0 } value ? value : null;
    }

    /// <summary>All checkpoints, oldest step first; one that lacks an object is marked. What has no manifest is not counted.</summary>
    /// <exception cref="SoraException">The bucket cannot be read; the message says why.</exception>
    public IReadOnlyList<CheckpointSummary> List() => Guarded(Location, () => Steps()
        .Where(step => step.Objects.ContainsKey(CheckpointManifest.FileName))
        .Select(step => Summarize(step.Step, step.Objects))
        .ToList());

    /// <summary>Reads every byte of a checkpoint.</summary>
    /// <returns>What is wrong with it, each naming an object; empty when it is sound.</returns>
    public IReadOnlyList<string> Verify(long step)
    {
        var place = Location.Checkpoint(step);
        var problems = new List<string>();
        try
        {
            foreach (var file in Manifest(step).Files)
            {
                using var stream = Guarded(place, () => Read(place.Key(file.Name)));
                if (stream is null)
                    problems.Add($"{place}/{file.Name} is missing.");
                else if (Guarded(place, () => Convert.ToHexStringLower(SHA256.HashData(stream))) != file.Sha256)
                    problems.Add($"{place}/{file.Name} is damaged: its SHA-256 is not the one in the manifest.");
            }
        }
        catch (SoraException exception)
        {
            problems.Add(exception.Message);
        }
        return problems;
    }

    /// <summary>What a checkpoint says of itself.</summary>
    /// <exception cref="SoraException">There is none, or it is damaged.</exception>
    public CheckpointManifest Manifest(long step)
    {
        var place = Location.Checkpoint(step);
        return Guarded(place, () => TryManifest(place, CheckpointManifest.FileName))
            ?? throw new SoraException($"{place} is not a checkpoint: it has no {CheckpointManifest.FileName}.", ExitCode.InvalidInput);
    }

    /// <summary>Brings a checkpoint into a run's output folder, every byte verified; one that lies there already is used.</summary>
    /// <returns>Its folder.</returns>
    /// <exception cref="SoraException">It is damaged, or there is no room.</exception>
    public string Fetch(long step, string outputDir)
    {
        var (manifest, place) = (Manifest(step), Location.Checkpoint(step));
        return CheckpointFolder.Receive(outputDir, manifest, folder => Guarded(place, () =>
        {
            foreach (var file in manifest.Files)
            {
                using var stream = Read(place.Key(file.Name)) ?? throw new SoraException($"{place}/{file.Name} is missing. Use another checkpoint.", ExitCode.InvalidInput);
                using var target = File.Create(Path.Combine(folder, file.Name));
                stream.CopyTo(target);
            }
            return true;
        }));
    }

    /// <summary>Removes all checkpoints.</summary>
    public void RemoveAll() => Guarded(Location, () =>
    {
        foreach (var (_, objects) in Steps())
            Remove(objects);
        return true;
    });

    /// <inheritdoc/>
    public void Dispose() => _client.Dispose();

    private CheckpointSummary Summarize(long step, Dictionary<string, S3Object> objects)
    {
        var place = Location.Checkpoint(step);
        try
        {
            var manifest = Manifest(step);
            var problem = manifest.Step != step ? $"its manifest is of step {manifest.Step}" : Shortage(place, manifest, objects);
            return new CheckpointSummary(place.ToString(), step, manifest, problem);
        }
        catch (SoraException exception) when (exception.ExitCode == ExitCode.InvalidInput)
        {
            return new CheckpointSummary(place.ToString(), step, null, exception.Message);
        }
    }

    private static string? Shortage(S3Location place, CheckpointManifest manifest, Dictionary<string, S3Object> objects) => manifest.Files
        .Select(file => !objects.TryGetValue(file.Name, out var one) ? $"{place}/{file.Name} is missing."
            : one.Size != file.Bytes ? $"{place}/{file.Name} has {one.Size} bytes, not {file.Bytes}." : null)
        .FirstOrDefault(one => one is not null);

    private Dictionary<string, S3Object> ObjectsOf(long step) => Steps($"{CheckpointFolder.NameOf(step)}/").FirstOrDefault().Objects ?? [];

    // What lies here by step and name, oldest step first, whether or not it is whole.
    private List<(long Step, Dictionary<string, S3Object> Objects)> Steps(string under = "")
    {
        var start = Location.Key("").Length;
        var found = new SortedDictionary<long, Dictionary<string, S3Object>>();
        var request = new ListObjectsV2Request { BucketName = Location.Bucket, Prefix = Location.Key(under) };
        ListObjectsV2Response page;
        do
        {
            page = _client.ListObjectsV2Async(request).GetAwaiter().GetResult();
            foreach (var one in page.S3Objects ?? [])
            {
                if (one.Key[start..].Split('/') is not [var folder, var name] || CheckpointCatalog.StepOf(folder) is not { } step)
                    continue;
                if (!found.TryGetValue(step, out var objects))
                    found[step] = objects = new Dictionary<string, S3Object>(StringComparer.Ordinal);
                objects[name] = one;
            }
            request.ContinuationToken = page.NextContinuationToken;
        }
        while (page.IsTruncated == true);
        return [.. found.Select(pair => (pair.Key, pair.Value))];
    }

    private CheckpointManifest? TryManifest(S3Location place, string name)
    {
        using var stream = Read(place.Key(name));
        if (stream is null)
            return null;
        using var bytes = new MemoryStream();
        stream.CopyTo(bytes);
        return CheckpointManifest.Parse(bytes.ToArray(), $"{place}/{name}");
    }

    private Stream? Read(string key)
    {
        try
        {
            return _client.GetObjectAsync(Location.Bucket, key).GetAwaiter().GetResult().ResponseStream;
        }
        catch (AmazonS3Exception exception) when (exception.ErrorCode == "NoSuchKey")
        {
            return null;
        }
    }

    private static T Guarded<T>(S3Location place, Func<T> work)
    {
        try
        {
            return work();
        }
        catch (AmazonS3Exception exception)
        {
            throw new SoraException(exception.ErrorCode switch
            {
                "NoSuchBucket" => $"There is no bucket '{place.Bucket}' where {place} points. Make it, or correct the name or {EndpointVariable}.",
                "InvalidAccessKeyId" or "SignatureDoesNotMatch" or "AccessDenied" or "ExpiredToken" or "Forbidden" or "403" =>
                    $"The store refuses {place}: {exception.Message} ({exception.ErrorCode}). Check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION and what that key may do.",
                _ => $"The store cannot serve {place}: {exception.Message} ({exception.ErrorCode})",
            }, ExitCode.Unreachable, exception);
        }
        // Nobody cancels here: a time limit has passed, or a part was given up because another part of the same file failed.
        catch (Exception exception) when (exception is AmazonClientException or AmazonServiceException or HttpRequestException or HttpIOException or OperationCanceledException)
        {
            throw new SoraException(
                $"{place} cannot be reached: {exception.Message} Credentials come from AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY or AWS_PROFILE, the region from AWS_REGION, the address of other stores from {EndpointVariable}.",
                ExitCode.Unreachable, exception);
        }
    }
}
