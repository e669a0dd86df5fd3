using System.Collections.Concurrent;
using System.Globalization;
using System.Net;
using System.Net.Sockets;
using System.Security;
using System.Security.Cryptography;
using System.Text;
using Amazon.Runtime;
using Amazon.S3;

namespace Sora.Model.Tests.Checkpoints.Storage;

/// <summary>As much of S3 as checkpoints need, on loopback: put, get, list in small pages, delete, multipart.</summary>
internal sealed class S3Server : IDisposable
{
    public const string Bucket = "models";
    private const string AccessKey = "test-key"; // and what begins with it
    private const int PageSize = 5;

    private readonly HttpListener _listener = new();
    private readonly ConcurrentDictionary<(string Upload, int Part), byte[]> _parts = new();
    private readonly string _address;
    private readonly ConcurrentDictionary<string, int> _requests = new();
    private readonly ConcurrentDictionary<string, string> _tags = new();
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

    /// <summary>Objects of which it changes a byte and says that all is well: the end of their key.</summary>
    public string? Damages { get; set; }

    /// <summary>Whether the tags it gives are of its own making.</summary>
    public bool TagsAtRandom { get; set; }

    /// <summary>From which request on it refuses a client, and whether it carries that one out, if it writes, and only the answer is lost.</summary>
    public (string Client, int Request, bool CarriesOut)? Fails { get; set; }

    /// <summary>Called with method and key before anything is done.</summary>
    public Action<string, string>? Before { get; set; }

    /// <summary>Called with method and key when it has been done.</summary>
    public Action<string, string>? After { get; set; }

    public int Multiparts { get; private set; }

    /// <summary>How many requests a client has made; from now on they are counted anew.</summary>
    public int RequestsOf(string accessKey) => _requests.TryRemove(accessKey, out var requests) ? requests : 0;

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
            var client = request.Headers["Authorization"]?.Split("Credential=")[^1].Split('/')[0] ?? "";
            var number = _requests.AddOrUpdate(client, 1, (_, before) => before + 1);
            var (fails, failsAfter) = Fails is { } fault && fault.Client == client && number >= fault.Request
                ? (true, fault.CarriesOut && number == fault.Request && request.HttpMethod is "PUT" or "DELETE") : (false, false);
            Before?.Invoke(request.HttpMethod, key);
            if (fails && !failsAfter)
                Refuse(response, 503, "ServiceUnavailable");
            else if (!client.StartsWith(AccessKey, StringComparison.Ordinal))
                Refuse(response, 403, "InvalidAccessKeyId");
            else if (path[0] != Bucket)
                Refuse(response, 404, "NoSuchBucket");
            else
                Serve(request, response, query["uploadId"], query["partNumber"], query["prefix"] ?? "", query["continuation-token"] ?? "", request.Url.Query, key);
            After?.Invoke(request.HttpMethod, key);
            if (failsAfter)
                Refuse(response, 503, "ServiceUnavailable");
            response.Close();
        }
        catch (Exception e) when (e is HttpListenerException or IOException or ObjectDisposedException)
        {
            response.Abort(); // which answers 200 where nothing has been answered yet: no way to play a connection that is cut
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
            // Many stores keep signed chunks as they come.
            case ("PUT", _) when request.Headers["x-amz-content-sha256"]?.StartsWith("STREAMING-", StringComparison.Ordinal) == true:
                Refuse(response, 501, "NotImplemented");
                break;
            case ("PUT", _):
                var body = Body(request);
                var number = Interlocked.Increment(ref _puts);
                if (number >= CutPut)
                {
                    Refuse(response, 503, "ServiceUnavailable");
                    break;
                }
                if (Damages is { } damaged && key.EndsWith(damaged, StringComparison.Ordinal))
                    body[^1] ^= 1;
                if (upload is null)
                    Keep(key, Halves is { } end && key.EndsWith(end, StringComparison.Ordinal) ? body[..(body.Length / 2)] : body, TagOf(body));
                else
                    _parts[(upload, int.Parse(part!, CultureInfo.InvariantCulture))] = body;
                response.Headers["ETag"] = $"\"{TagOf(body)}\"";
                break;
            case ("POST", null) when query.Contains("uploads", StringComparison.Ordinal):
                Multiparts++;
                Write(response, $"<InitiateMultipartUploadResult><Bucket>{Bucket}</Bucket><Key>{SecurityElement.Escape(key)}</Key><UploadId>{Guid.NewGuid():N}</UploadId></InitiateMultipartUploadResult>");
                break;
            case ("POST", not null):
                var parts = _parts.Where(one => one.Key.Upload == upload).OrderBy(one => one.Key.Part).Select(one => one.Value).ToList();
                Keep(key, [.. parts.SelectMany(one => one)], $"{TagOf([.. parts.SelectMany(one => MD5.HashData(one))])}-{parts.Count}");
                Write(response, $"<CompleteMultipartUploadResult><Bucket>{Bucket}</Bucket><Key>{SecurityElement.Escape(key)}</Key><ETag>\"{_tags[key]}\"</ETag></CompleteMultipartUploadResult>");
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
            {string.Concat(page.Select(key => $"<Contents><Key>{SecurityElement.Escape(key)}</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified><ETag>\"{_tags.GetValueOrDefault(key)}\"</ETag><Size>{(Objects.TryGetValue(key, out var bytes) ? bytes.Length : 0)}</Size></Contents>"))}
            </ListBucketResult>
            """);
    }

    private void Keep(string key, byte[] bytes, string tag) => (Objects[key], _tags[key]) = (bytes, tag);

    private string TagOf(byte[] bytes) => TagsAtRandom ? Guid.NewGuid().ToString("N") : Convert.ToHexStringLower(MD5.HashData(bytes));

    private static byte[] Body(HttpListenerRequest request)
    {
        using var raw = new MemoryStream();
        request.InputStream.CopyTo(raw);
        return raw.ToArray();
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
