using System.Net;
using System.Net.Http.Headers;
using System.Security.Cryptography;

namespace Sora.Model.Data.Sources;

/// <summary>
/// HTTP for large files. However long a download takes, the server must not fall silent: <see cref="Silence"/> without a byte ends
/// the request. A body that breaks off or stalls is asked for again from where it came to, <see cref="Attempts"/> times in all: at
/// once, then with a pause.
/// </summary>
internal sealed class PatientHttp : IDisposable
{
    /// <summary>How long nothing may arrive, be it the answer or the next bytes.</summary>
    public static readonly TimeSpan Silence = TimeSpan.FromSeconds(60);

    /// <summary>Requests for one body at most.</summary>
    public const int Attempts = 3;

    private static readonly TimeSpan _pause = TimeSpan.FromSeconds(1);

    private readonly HttpClient _http = new() { Timeout = Timeout.InfiniteTimeSpan };
    private readonly TimeProvider _time;

    public PatientHttp(TimeProvider time)
    {
        _time = time;
        _http.DefaultRequestHeaders.UserAgent.ParseAdd("SoraCluster"); // some servers refuse clients without a name
    }

    public void Dispose() => _http.Dispose();

    /// <summary>Sends a request and waits for the header of the answer.</summary>
    /// <exception cref="HttpRequestException">There is none.</exception>
    public Task<HttpResponseMessage> SendAsync(HttpRequestMessage request, CancellationToken cancellationToken) =>
        HeardAsync(stop => _http.SendAsync(request, HttpCompletionOption.ResponseHeadersRead, stop), cancellationToken);

    /// <summary>Copies the body of an answer to a GET into an empty file.</summary>
    /// <param name="answer">The answer; disposed here.</param>
    /// <param name="file">Where to; a seekable stream.</param>
    /// <param name="arrived">Told how many bytes of how many are there; 0 of them: not known.</param>
    /// <param name="retrying">Told of each interruption that is tried again.</param>
    /// <param name="cancellationToken">Stops it.</param>
    /// <returns>What the bytes hash to, and the answer they are of: only its headers are left.</returns>
    /// <exception cref="HttpRequestException">It did not arrive whole.</exception>
    public async Task<(string Sha256, HttpResponseMessage Answer)> CopyBodyAsync(
        HttpResponseMessage answer, Stream file, Action<long, long> arrived, Action<string> retrying, CancellationToken cancellationToken)
    {
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        for (var attempt = 1; ; attempt++)
        {
            try
            {
                if (attempt > 1) answer = await AskAgainAsync(answer, file.Position, cancellationToken);
                using var closing = answer;
                if (answer.StatusCode != HttpStatusCode.PartialContent)
                {
                    file.SetLength(0);
                    hash.GetHashAndReset();
                }
                await CopyOnceAsync(answer, file, hash, arrived, cancellationToken);
                return (Convert.ToHexStringLower(hash.GetHashAndReset()), answer);
            }
            catch (HttpRequestException e) when (attempt < Attempts && e.StatusCode is null)
            {
                retrying(e.Message);
                await Task.Delay(_pause * (attempt - 1), _time, cancellationToken);
            }
        }
    }

    private async Task CopyOnceAsync(HttpResponseMessage answer, Stream file, IncrementalHash hash, Action<long, long> arrived, CancellationToken cancellationToken)
    {
        var total = file.Position + answer.Content.Headers.ContentLength ?? 0;
        await using var body = await answer.Content.ReadAsStreamAsync(cancellationToken);
        var buffer = new byte[1 << 16];
        for (int read; (read = await HeardAsync(stop => body.ReadAsync(buffer, stop).AsTask(), cancellationToken)) > 0;)
        {
            await file.WriteAsync(buffer.AsMemory(0, read), cancellationToken);
            hash.AppendData(buffer.AsSpan(0, read));
            arrived(file.Position, total);
        }
    }

    /// <summary>Asks for the rest of a body, or for all of it where the server cannot promise that the rest is of the same one.</summary>
    private async Task<HttpResponseMessage> AskAgainAsync(HttpResponseMessage answer, long from, CancellationToken cancellationToken)
    {
        using var request = new HttpRequestMessage(HttpMethod.Get, answer.RequestMessage!.RequestUri);
        var version = answer.Headers.ETag is { IsWeak: false } tag ? new RangeConditionHeaderValue(tag)
            : answer.Content.Headers.LastModified is { } modified ? new RangeConditionHeaderValue(modified)
            : null;
        if (version is not null && from > 0) (request.Headers.Range, request.Headers.IfRange) = (new(from, null), version);
        var again = await SendAsync(request, cancellationToken);
        if (again.StatusCode == HttpStatusCode.OK) return again;
        if (again.StatusCode == HttpStatusCode.PartialContent && again.Content.Headers.ContentRange?.From == from) return again;
        using (again)
            throw new HttpRequestException($"Asked for the rest, the server answered {(int)again.StatusCode} {again.ReasonPhrase}.", null, again.StatusCode);
    }

    /// <summary>Waits for the network, but not through silence; keeps what the network does apart from what the disk does.</summary>
    private async Task<T> HeardAsync<T>(Func<CancellationToken, Task<T>> wait, CancellationToken cancellationToken)
    {
        using var silence = new CancellationTokenSource(Silence, _time);
        using var either = CancellationTokenSource.CreateLinkedTokenSource(silence.Token, cancellationToken);
        try
        {
            return await wait(either.Token);
        }
        catch (Exception e) when (e is OperationCanceledException or ObjectDisposedException or IOException && silence.IsCancellationRequested && !cancellationToken.IsCancellationRequested)
        {
            // Giving up closes the connection, and whoever reads from it may notice that first.
            throw new HttpRequestException($"Nothing arrived for {Silence.TotalSeconds:0} seconds.", e);
        }
        catch (IOException e)
        {
            throw new HttpRequestException($"The connection broke: {e.Message}", e);
        }
    }
}
