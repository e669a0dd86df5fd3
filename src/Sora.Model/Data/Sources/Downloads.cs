using System.Net;
using System.Net.Http.Headers;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using System.Text.Json.Serialization;
using Sora.Protocol.Jobs;

namespace Sora.Model.Data.Sources;

/// <summary>URLs, streamed into the cache folder and kept there for as long as the server says they have not changed.</summary>
internal sealed class Downloads(string cacheFolder, TimeProvider? time = null) : IDisposable
{
    private const string ContentName = "content";
    private const string EntryName = "entry.json";

    private static readonly TimeSpan LeftoverAge = TimeSpan.FromHours(1);

    private readonly TimeProvider _time = time ?? TimeProvider.System;
    private readonly PatientHttp _http = new(time ?? TimeProvider.System);

    public void Dispose() => _http.Dispose();

    public async Task<CorpusInput> GetAsync(Uri url, string textField, IProgress<PrepareProgress>? progress, CancellationToken cancellationToken)
    {
        var publicName = InputList.PublicName(url.ToString());
        var folder = Path.Combine(cacheFolder, "downloads", Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(url.ToString())))[..32]);
        var content = Path.Combine(folder, ContentName);
        var kept = await ReadEntryAsync(folder, cancellationToken);
        try
        {
            using var request = new HttpRequestMessage(HttpMethod.Get, url);
            if (kept?.ETag is { } etag && EntityTagHeaderValue.TryParse(etag, out var tag)) request.Headers.IfNoneMatch.Add(tag);
            if (kept?.LastModified is { } modified) request.Headers.IfModifiedSince = modified;
            using var response = await _http.SendAsync(request, cancellationToken);
            if (response.StatusCode != HttpStatusCode.NotModified || kept is null)
            {
                if (!response.IsSuccessStatusCode)
                    throw new SoraException($"{publicName} cannot be read: the server answered {(int)response.StatusCode} {response.ReasonPhrase}. Check the address.", ExitCode.InvalidInput);
                kept = await DownloadAsync(response, url, publicName, folder, progress, cancellationToken);
            }
        }
        catch (HttpRequestException e)
        {
            if (kept is null) throw new SoraException($"{publicName} cannot be downloaded: {e.Message} Check the address and the network.", ExitCode.InvalidInput, e);
            progress?.Report(new(PreparePhase.Downloading, Message: $"{publicName} cannot be reached ({e.Message}); using the copy downloaded before."));
        }
        return new FileInput(content, textField, publicName, kept.TypedName, $"{kept.TypedName} {kept.Sha256}");
    }

    private async Task<Entry> DownloadAsync(
        HttpResponseMessage response, Uri url, string publicName, string folder, IProgress<PrepareProgress>? progress, CancellationToken cancellationToken)
    {
        var typedName = TypedName(url, response.Content.Headers.ContentType?.MediaType)
            ?? throw new SoraException($"{publicName}: neither its name nor its type ({response.Content.Headers.ContentType}) tells the format. Read are {FileInput.SupportedTypes}.", ExitCode.InvalidInput);
        var temporary = Path.Combine(folder, $"{ContentName}.{Guid.NewGuid():N}.tmp");
        try
        {
            Directory.CreateDirectory(folder);
            RemoveLeftovers();
            long bytes;
            string sha256;
            await using (var target = new FileStream(temporary, FileMode.CreateNew, FileAccess.Write, FileShare.None, 1 << 16, FileOptions.Asynchronous))
            {
                (sha256, response) = await _http.CopyBodyAsync(
                    response, target,
                    (arrived, total) => progress?.Report(new(PreparePhase.Downloading, arrived, total)),
                    problem => progress?.Report(new(PreparePhase.Downloading, Message: $"{publicName}: {problem} Trying again.")),
                    cancellationToken);
                bytes = target.Length;
            }
            var entry = new Entry(publicName, typedName, bytes, sha256, response.Headers.ETag?.ToString(), response.Content.Headers.LastModified);
            // The entry is the last to be written: without one, or with one of another size, the content does not count.
            File.Delete(Path.Combine(folder, EntryName));
            File.Move(temporary, Path.Combine(folder, ContentName), overwrite: true);
            await File.WriteAllBytesAsync(temporary, JsonSerializer.SerializeToUtf8Bytes(entry, DownloadJson.Default.Entry), cancellationToken);
            File.Move(temporary, Path.Combine(folder, EntryName), overwrite: true);
            return entry;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw DiskErrors.Explained(folder, e);
        }
        finally
        {
            if (Directory.Exists(folder)) File.Delete(temporary);
        }
    }

    /// <summary>What programs that were killed left behind. One that still downloads has written a moment ago.</summary>
    private void RemoveLeftovers()
    {
        var old = (_time.GetUtcNow() - LeftoverAge).UtcDateTime;
        foreach (var path in Directory.EnumerateFiles(Path.Combine(cacheFolder, "downloads"), $"{ContentName}.*.tmp", SearchOption.AllDirectories))
            if (File.GetLastWriteTimeUtc(path) < old) File.Delete(path);
    }

    private static async Task<Entry?> ReadEntryAsync(string folder, CancellationToken cancellationToken)
    {
        var path = Path.Combine(folder, EntryName);
        if (!File.Exists(path)) return null;
        try
        {
            var entry = JsonSerializer.Deserialize(await File.ReadAllBytesAsync(path, cancellationToken), DownloadJson.Default.Entry);
            var content = new FileInfo(Path.Combine(folder, ContentName));
            return content.Exists && content.Length == entry?.Bytes ? entry : null;
        }
        catch (JsonException)
        {
            return null; // not ours or damaged: downloaded again
        }
    }

    private static string? TypedName(Uri url, string? mediaType)
    {
        if (FileInput.IsSupported(url.AbsolutePath)) return url.AbsolutePath;
        return mediaType switch
        {
            "text/plain" or "text/markdown" => ContentName + ".txt",
            "application/jsonl" or "application/x-ndjson" or "application/x-jsonlines" => ContentName + ".jsonl",
            "application/vnd.apache.parquet" => ContentName + ".parquet",
            _ => null,
        };
    }

    internal sealed record Entry(string Url, string TypedName, long Bytes, string Sha256, string? ETag, DateTimeOffset? LastModified);
}

[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower)]
[JsonSerializable(typeof(Downloads.Entry))]
internal sealed partial class DownloadJson : JsonSerializerContext;
