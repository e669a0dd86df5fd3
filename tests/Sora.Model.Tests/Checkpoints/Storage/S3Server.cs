using System.Collections.Concurrent;
using System.Globalization;
using System.Net;
using System.Net.Sockets;
using System.Security;
using System.Text;
using Amazon.Runtime;
using Amazon.S3;

namespace Sora.Model.Tests.Checkpoints.Storage;

/// <summary>As much of S3 as checkpoints need, on loopback: put, get, list in small pages, delete, multipart.</summary>
internal sealed class S3Server : IDisposable
{
    public const string Bucket = "models";
    private const string AccessKey = "test-key";
    private const int PageSize = 3;

    private readonly HttpListener _listener = new();
    private readonly ConcurrentDictionary<(string Upload, int Part), byte[]> _parts = new();
    private readonly string _address;
    private int _puts;

    public S3Server()
    {
        using (var probe = new TcpListener(IPAddress.Loopback, 0))
        {
            probe.Start();
            _address = $"http://127.0.0.1:{((IPEndPoint)probe.LocalEndpoint).Port}/";
        }
        _listener.Prefixes.Add(_address);
        _listener.Start();
        _ = ServeAsync();
    }

    /// <summary>What it holds, by key.</summary>
    public ConcurrentDictionary<string, byte[]> Objects { get; } = new();

    /// <summary>Uploads, parts of large ones included, and the number of the first that fails; later ones do too.</summary>
    public int Puts => _puts;

    public int CutPut { get; set; } = int.MaxValue;

    /// <summary>Objects of which it keeps only half and says that all is well: the end of their key.</summary>
    public string? Halves { get; set; }

    public int Multiparts { get; private set; }

    public IAmazonS3 Client(string accessKey = AccessKey) => new AmazonS3Client(new BasicAWSCredentials(accessKey, "secret"), new AmazonS3Config
    {
        ServiceURL = _address,
        ForcePathStyle = true,
        AuthenticationRegion = "us-east-1",
        MaxErrorRetry = 0,
        RequestChecksumCalculation = RequestChecksumCalculation.WHEN_REQUIRED,
        ResponseChecksumValidation = ResponseChecksumValidation.WHEN_REQUIRED,
    });

    public void Dispose() => _listener.Close();

    private async Task ServeAsync()
    {
        while (_listener.IsListening)
        {
            try
            {
                var context = await _listener.GetContextAsync();
                _ = Task.Run(() => Answer(context));
            }
            catch (Exception e) when (e is HttpListenerException or ObjectDisposedException)
            {
                return;
            }
        }
    }

    private void Answer(HttpListenerContext context)
    {
        var (request, response) = (context.Request, context.Response);
        try
        {
            var path = Uri.UnescapeDataString(request.Url!.AbsolutePath).TrimStart('/').Split('/', 2);
            var (query, key) = (request.QueryString, path.Length > 1 ? path[1] : "");
            if (request.Headers["Authorization"]?.Contains($"Credential={AccessKey}/", StringComparison.Ordinal) != true)
                Refuse(response, 403, "InvalidAccessKeyId");
            else if (path[0] != Bucket)
                Refuse(response, 404, "NoSuchBucket");
            else
                Serve(request, response, query["uploadId"], query["partNumber"], query["prefix"] ?? "", query["continuation-token"] ?? "", request.Url.Query, key);
            response.Close();
        }
        catch (Exception e) when (e is HttpListenerException or IOException or ObjectDisposedException)
        {
            response.Abort();
        }
    }

    private void Serve(HttpListenerRequest request, HttpListenerResponse response, string? upload, string? part, string prefix, string after, string query, string key)
    {
        switch (request.HttpMethod, upload)
        {
            case ("GET", _) when key.Length == 0:
                List(response, prefix, after);
                break;
            case ("GET", _) when Objects.TryGetValue(key, out var bytes):
                response.ContentLength64 = bytes.Length;
                response.OutputStream.Write(bytes);
                break;
            case ("GET", _):
                Refuse(response, 404, "NoSuchKey");
                break;
            case ("PUT", _):
                var body = Body(request);
                var number = Interlocked.Increment(ref _puts);
                if (number >= CutPut)
                {
                    Refuse(response, 503, "ServiceUnavailable");
                    break;
                }
                if (upload is null)
                    Objects[key] = Halves is { } end && key.EndsWith(end, StringComparison.Ordinal) ? body[..(body.Length / 2)] : body;
                else
                    _parts[(upload, int.Parse(part!, CultureInfo.InvariantCulture))] = body;
                response.Headers["ETag"] = "\"tag\"";
                break;
            case ("POST", null) when query.Contains("uploads", StringComparison.Ordinal):
                Multiparts++;
                Write(response, $"<InitiateMultipartUploadResult><Bucket>{Bucket}</Bucket><Key>{SecurityElement.Escape(key)}</Key><UploadId>{Guid.NewGuid():N}</UploadId></InitiateMultipartUploadResult>");
                break;
            case ("POST", not null):
                Objects[key] = [.. _parts.Where(one => one.Key.Upload == upload).OrderBy(one => one.Key.Part).SelectMany(one => one.Value)];
                Write(response, $"<CompleteMultipartUploadResult><Bucket>{Bucket}</Bucket><Key>{SecurityElement.Escape(key)}</Key><ETag>\"tag\"</ETag></CompleteMultipartUploadResult>");
                break;
            case ("DELETE", null):
                Objects.TryRemove(key, out _);
                response.StatusCode = 204;
                break;
            case ("DELETE", not null):
                foreach (var one in _parts.Keys.Where(one => one.Upload == upload))
                    _parts.TryRemove(one, out _);
                response.StatusCode = 204;
                break;
            default:
                Refuse(response, 501, "NotImplemented");
                break;
        }
    }

    private void List(HttpListenerResponse response, string prefix, string after)
    {
        var keys = Objects.Keys.Where(key => key.StartsWith(prefix, StringComparison.Ordinal) && string.CompareOrdinal(key, after) > 0).Order(StringComparer.Ordinal).ToList();
        var page = keys.Take(PageSize).ToList();
        var more = keys.Count > page.Count;
        Write(response, $"""
            <ListBucketResult><Name>{Bucket}</Name><IsTruncated>{(more ? "true" : "false")}</IsTruncated>{(more ? $"<NextContinuationToken>{page[^1]}</NextContinuationToken>" : "")}
            {string.Concat(page.Select(key => $"<Contents><Key>{SecurityElement.Escape(key)}</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified><ETag>\"tag\"</ETag><Size>{Objects[key].Length}</Size></Contents>"))}
            </ListBucketResult>
            """);
    }

    private static byte[] Body(HttpListenerRequest request)
    {
        using var raw = new MemoryStream();
        request.InputStream.CopyTo(raw);
        var bytes = raw.ToArray();
        if (request.Headers["x-amz-content-sha256"]?.StartsWith("STREAMING-", StringComparison.Ordinal) != true)
            return bytes;
        // Signed chunks: length in hex, signature, line end, bytes, line end.
        using var whole = new MemoryStream();
        for (var at = 0; at < bytes.Length;)
        {
            var end = at + bytes.AsSpan(at).IndexOf("\r\n"u8);
            var length = int.Parse(Encoding.ASCII.GetString(bytes, at, end - at).Split(';')[0], NumberStyles.HexNumber, CultureInfo.InvariantCulture);
            if (length == 0)
                break;
            whole.Write(bytes, end + 2, length);
            at = end + 2 + length + 2;
        }
        return whole.ToArray();
    }

    private static void Refuse(HttpListenerResponse response, int status, string code)
    {
        response.StatusCode = status;
        Write(response, $"<Error><Code>{code}</Code><Message>refused by the test</Message></Error>");
    }

    private static void Write(HttpListenerResponse response, string xml)
    {
        var bytes = Encoding.UTF8.GetBytes(xml);
        response.ContentType = "application/xml";
        response.ContentLength64 = bytes.Length;
        response.OutputStream.Write(bytes);
    }
}
