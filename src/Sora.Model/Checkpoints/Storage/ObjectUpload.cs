using Amazon.S3;
using Amazon.S3.Model;

namespace Sora.Model.Checkpoints.Storage;

/// <summary>
/// Puts files into a store, large ones in parts. The library's own way to do that sends chunks that are signed one by one, which some
/// stores do not know and keep as if they were the object's bytes; here every body is sent as it is.
/// </summary>
/// <param name="client">The store.</param>
/// <param name="partSize">Files of that size and more are sent in parts.</param>
internal sealed class ObjectUpload(IAmazonS3 client, long partSize)
{
    private const int MaxParts = 10_000; // S3's limit
    private const int PartsAtOnce = 4;

    /// <summary>Puts a small object.</summary>
    public async Task SendAsync(string bucket, string key, byte[] bytes)
    {
        using var stream = new MemoryStream(bytes);
        await client.PutObjectAsync(new PutObjectRequest { BucketName = bucket, Key = key, InputStream = stream, UseChunkEncoding = false }).ConfigureAwait(false);
    }

    /// <summary>Puts a file.</summary>
    public Task SendAsync(string bucket, string key, string path) => PartSizeFor(new FileInfo(path).Length) is { } size
        ? SendPartsAsync(bucket, key, path, size)
        : client.PutObjectAsync(new PutObjectRequest { BucketName = bucket, Key = key, FilePath = path, UseChunkEncoding = false });

    /// <summary>The size of the parts a file of some size is sent in; null: it is sent whole.</summary>
    public long? PartSizeFor(long bytes) => bytes < partSize ? null : Math.Max(partSize, (bytes + MaxParts - 1) / MaxParts);

    private async Task SendPartsAsync(string bucket, string key, string path, long size)
    {
        var length = new FileInfo(path).Length;
        var upload = (await client.InitiateMultipartUploadAsync(bucket, key).ConfigureAwait(false)).UploadId;
        try
        {
            var parts = new PartETag[(length + size - 1) / size];
            await Parallel.ForAsync(0, parts.Length, new ParallelOptions { MaxDegreeOfParallelism = PartsAtOnce }, async (index, cancellationToken) =>
            {
                var sent = await client.UploadPartAsync(
                    new UploadPartRequest
                    {
                        BucketName = bucket,
                        Key = key,
                        UploadId = upload,
                        PartNumber = index + 1,
                        FilePath = path,
                        FilePosition = index * size,
                        PartSize = Math.Min(size, length - index * size),
                        UseChunkEncoding = false,
                    },
                    cancellationToken).ConfigureAwait(false);
                parts[index] = new PartETag(index + 1, sent.ETag);
            }).ConfigureAwait(false);
            await client.CompleteMultipartUploadAsync(new CompleteMultipartUploadRequest { BucketName = bucket, Key = key, UploadId = upload, PartETags = [.. parts] }).ConfigureAwait(false);
        }
        catch
        {
            await ForgetAsync(bucket, key, upload).ConfigureAwait(false);
            throw;
        }
    }

    private async Task ForgetAsync(string bucket, string key, string upload)
    {
        try
        {
            await client.AbortMultipartUploadAsync(bucket, key, upload).ConfigureAwait(false);
        }
        catch (Exception exception) when (exception is Amazon.Runtime.AmazonServiceException or Amazon.Runtime.AmazonClientException or HttpRequestException or OperationCanceledException)
        {
            // What ended the upload is told; the parts are left to the bucket's lifecycle rule.
        }
    }
}
