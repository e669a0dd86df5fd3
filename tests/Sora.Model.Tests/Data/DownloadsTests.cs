using System.Net;
using System.Net.Sockets;
using System.Text;
using Microsoft.Extensions.Time.Testing;
using Sora.Model.Data;
using Sora.Protocol.Jobs;

namespace Sora.Model.Tests.Data;

public class DownloadsTests
{
    [Fact]
    public async Task Get_Url_IsDownloadedOnceAndAskedAboutAgain()
    {
        using var folder = new TestFolder();
        await using var server = new OneFileServer("HTTP/1.1 200 OK\r\nETag: \"v1\"\r\n", "downloaded text");
        var url = server.Url("book.txt?token=secret");

        using (var corpus = await GetAsync(folder, url))
        {
            Assert.Equal(["downloaded text"], TestCorpus.TrainDocuments(corpus));
            Assert.Equal([server.Url("book.txt")], corpus.Manifest.Sources);
        }
        server.Answer = ("HTTP/1.1 304 Not Modified\r\nETag: \"v1\"\r\n", "");
        using (var corpus = await GetAsync(folder, url)) Assert.Equal(["downloaded text"], TestCorpus.TrainDocuments(corpus));
        Assert.Contains("If-None-Match: \"v1\"", server.Requests[^1]);

        server.Answer = ("HTTP/1.1 200 OK\r\nETag: \"v2\"\r\n", "changed text");
        using (var corpus = await GetAsync(folder, url)) Assert.Equal(["changed text"], TestCorpus.TrainDocuments(corpus));
    }

    [Fact]
    public async Task Get_ServerGone_UsesTheCopyAndSaysSo()
    {
        using var folder = new TestFolder();
        string url;
        await using (var server = new OneFileServer("HTTP/1.1 200 OK\r\n", "kept text"))
        {
            url = server.Url("book.txt");
            (await GetAsync(folder, url)).Dispose();
        }
        var messages = new Messages();
        using var corpus = await GetAsync(folder, url, messages);
        Assert.Equal(["kept text"], TestCorpus.TrainDocuments(corpus));
        Assert.Contains("using the copy downloaded before", Assert.Single(messages.All));
    }

    [Theory]
    [InlineData("HTTP/1.1 404 Not Found\r\n", "no", "book.txt", "the server answered 404 Not Found")]
    [InlineData("HTTP/1.1 200 OK\r\nContent-Type: image/png\r\n", "no", "picture", "neither its name nor its type (image/png) tells the format")]
    public async Task Get_UnusableAnswer_SaysWhy(string header, string body, string name, string message)
    {
        using var folder = new TestFolder();
        await using var server = new OneFileServer(header, body);
        var error = await Assert.ThrowsAsync<SoraException>(() => GetAsync(folder, server.Url(name)));
        Assert.Contains(message, error.Message);
        Assert.Equal(ExitCode.InvalidInput, error.ExitCode);
    }

    [Fact]
    public async Task Get_ConnectionBreaksEachTime_KeepsNothing()
    {
        using var folder = new TestFolder();
        await using var server = new OneFileServer("HTTP/1.1 200 OK\r\n", "half of it") { MissingBytes = 100 };
        var time = new FakeTimeProvider();
        var error = await Assert.ThrowsAsync<SoraException>(() => PassTimeAsync(time, GetAsync(folder, server.Url("book.txt"), time: time)));
        Assert.Contains("cannot be downloaded", error.Message);
        Assert.Empty(Directory.GetFiles(folder.Path, "*", SearchOption.AllDirectories));
    }

    [Fact]
    public async Task Get_ConnectionBreaksOnce_GoesOnFromThere()
    {
        using var folder = new TestFolder();
        await using var server = new OneFileServer("HTTP/1.1 200 OK\r\nETag: \"v1\"\r\n", "the first half")
        {
            MissingBytes = 20,
            Rest = ("HTTP/1.1 206 Partial Content\r\nETag: \"v1\"\r\nContent-Range: bytes 14-33/34\r\n", " and then the second"),
        };
        var messages = new Messages();
        using var corpus = await GetAsync(folder, server.Url("book.txt"), messages);
        Assert.Equal(["the first half and then the second"], TestCorpus.TrainDocuments(corpus));
        Assert.Contains("Range: bytes=14-\r\n", server.Requests[^1]);
        Assert.Contains("If-Range: \"v1\"\r\n", server.Requests[^1]);
        Assert.StartsWith(server.Url("book.txt") + ": The connection broke", Assert.Single(messages.All));
    }

    [Theory]
    [InlineData("ETag: \"v1\"\r\n", true)]
    [InlineData("ETag: W/\"v1\"\r\n", false)]
    [InlineData("", false)]
    public async Task Get_ServerStartsOver_NothingIsMixed(string version, bool asksForTheRest)
    {
        using var folder = new TestFolder();
        await using var server = new OneFileServer($"HTTP/1.1 200 OK\r\n{version}", "half of the old") { MissingBytes = 20, Rest = ("HTTP/1.1 200 OK\r\nETag: \"v2\"\r\n", "all of the new") };
        using var corpus = await GetAsync(folder, server.Url("book.txt"));
        Assert.Equal(["all of the new"], TestCorpus.TrainDocuments(corpus));
        Assert.Equal(asksForTheRest, server.Requests[^1].Contains("Range: bytes="));

        server.Rest = ("HTTP/1.1 304 Not Modified\r\n", "");
        (await GetAsync(folder, server.Url("book.txt"))).Dispose();
        Assert.Contains("If-None-Match: \"v2\"", server.Requests[^1]);
    }

    [Fact]
    public async Task Get_ServerFallsSilent_GivesUpAndNamesTheUrl()
    {
        using var folder = new TestFolder();
        await using var server = new OneFileServer("HTTP/1.1 200 OK\r\n", "half of it") { MissingBytes = 100, FallsSilent = true };
        var (time, messages) = (new FakeTimeProvider(), new Messages());
        var getting = GetAsync(folder, server.Url("book.txt"), messages, time);
        await server.Silent;
        Assert.False(getting.IsCompleted);
        var error = await Assert.ThrowsAsync<SoraException>(() => PassTimeAsync(time, getting));
        Assert.Equal($"{server.Url("book.txt")} cannot be downloaded: Nothing arrived for 60 seconds. Check the address and the network.", error.Message);
        Assert.Equal(Enumerable.Repeat($"{server.Url("book.txt")}: Nothing arrived for 60 seconds. Trying again.", 2), messages.All);
        Assert.Empty(Directory.GetFiles(folder.Path, "*", SearchOption.AllDirectories));
    }

    [Fact]
    public async Task Get_WhatAKilledProgramLeft_IsRemovedAndWhatOneStillWritesIsNot()
    {
        using var folder = new TestFolder();
        await using var server = new OneFileServer("HTTP/1.1 200 OK\r\n", "all of it");
        var downloads = Directory.CreateDirectory(Path.Combine(CorpusCache.Root(TestCorpus.Data(folder, "x")), "downloads", "other")).FullName;
        string[] left = [Path.Combine(downloads, "content.old.tmp"), Path.Combine(downloads, "content.new.tmp")];
        foreach (var path in left) File.WriteAllText(path, "half");
        File.SetLastWriteTimeUtc(left[0], DateTime.UtcNow.AddHours(-2));

        (await GetAsync(folder, server.Url("book.txt"))).Dispose();
        Assert.Equal([false, true], left.Select(File.Exists));
    }

    [Fact]
    public async Task Get_UrlWithoutExtension_GoesByItsType()
    {
        using var folder = new TestFolder();
        await using var server = new OneFileServer("HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\n", "{\"text\":\"a\"}\n{\"text\":\"b\"}\n");
        using var corpus = await GetAsync(folder, server.Url("download"));
        Assert.Equal(["a", "b"], TestCorpus.TrainDocuments(corpus));
    }

    private static Task<PreparedCorpus> GetAsync(TestFolder folder, string url, IProgress<PrepareProgress>? progress = null, TimeProvider? time = null) =>
        CorpusCache.GetAsync(TestCorpus.Data(folder, url), TestCorpus.Bytes, progress, time, TestContext.Current.CancellationToken);

    private static async Task<T> PassTimeAsync<T>(FakeTimeProvider time, Task<T> task)
    {
        while (!task.IsCompleted)
        {
            time.Advance(TimeSpan.FromSeconds(1));
            await Task.Yield();
        }
        return await task;
    }

    private sealed class Messages : IProgress<PrepareProgress>
    {
        public List<string> All { get; } = [];

        public void Report(PrepareProgress value)
        {
            if (value.Message is { } message) All.Add(message);
        }
    }

    /// <summary>Answers every request on a loopback port with the same header and body.</summary>
    private sealed class OneFileServer : IAsyncDisposable
    {
        private readonly TcpListener _listener = new(IPAddress.Loopback, 0);
        private readonly CancellationTokenSource _stop = new();
        private readonly TaskCompletionSource _silent = new(TaskCreationOptions.RunContinuationsAsynchronously);
        private readonly Task _serving;

        public OneFileServer(string header, string body)
        {
            Answer = (header, body);
            _listener.Start();
            _serving = ServeAsync();
        }

        public (string Header, string Body) Answer { get; set; }

        /// <summary>Announced, but not sent.</summary>
        public int MissingBytes { get; init; }

        /// <summary>Answers every request after the first, and is sent whole.</summary>
        public (string Header, string Body)? Rest { get; set; }

        /// <summary>Keeps the connection of the first request open instead of closing it, and answers no other.</summary>
        public bool FallsSilent { get; init; }

        /// <summary>Ends when that has begun.</summary>
        public Task Silent => _silent.Task;

        public List<string> Requests { get; } = [];

        public string Url(string name) => $"http://127.0.0.1:{((IPEndPoint)_listener.LocalEndpoint).Port}/{name}";

        public async ValueTask DisposeAsync()
        {
            await _stop.CancelAsync();
            await _serving;
            _listener.Dispose();
            _stop.Dispose();
        }

        private async Task ServeAsync()
        {
            while (!_stop.IsCancellationRequested)
            {
                try
                {
                    using var client = await _listener.AcceptTcpClientAsync(_stop.Token);
                    await using var stream = client.GetStream();
                    var request = new StringBuilder();
                    var buffer = new byte[4096];
                    while (!request.ToString().EndsWith("\r\n\r\n", StringComparison.Ordinal))
                        request.Append(Encoding.ASCII.GetString(buffer, 0, await stream.ReadAtLeastAsync(buffer, 1, throwOnEndOfStream: true, _stop.Token)));
                    Requests.Add(request.ToString());
                    var ((header, text), missing) = Requests.Count > 1 && Rest is { } rest ? (rest, 0) : (Answer, MissingBytes);
                    var body = Encoding.UTF8.GetBytes(text);
                    await stream.WriteAsync(Encoding.ASCII.GetBytes($"{header}Content-Length: {body.Length + missing}\r\nConnection: close\r\n\r\n"), _stop.Token);
                    await stream.WriteAsync(body, _stop.Token);
                    if (!FallsSilent) continue;
                    _silent.SetResult();
                    await Task.Delay(Timeout.Infinite, _stop.Token);
                }
                catch (OperationCanceledException)
                {
                    return;
                }
                catch (IOException)
                {
                    // Who asked has gone, in the middle of the answer or before it; others may ask.
                }
            }
        }
    }
}
