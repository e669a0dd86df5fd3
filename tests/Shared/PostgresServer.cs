using System.Diagnostics;
using Npgsql;

namespace Sora.Tests;

/// <summary>A PostgreSQL of its own, on loopback, in a temporary folder.</summary>
public sealed class PostgresServer : IAsyncLifetime
{
    private const string Installed = "/usr/lib/postgresql";
    private const string SuperUser = "sora";

    private readonly string _folder = Directory.CreateTempSubdirectory("sora-postgres-").FullName;
    private Process? _server;
    private int _port;
    private int _databases;

    /// <summary>Why there is none; null when there is.</summary>
    public string? Missing { get; private set; }

    private string Data => Path.Combine(_folder, "data");

    public async ValueTask InitializeAsync()
    {
        var programs = Directory.Exists(Installed)
            ? Directory.GetDirectories(Installed).Select(version => Path.Combine(version, "bin")).Order(StringComparer.Ordinal).LastOrDefault(bin => File.Exists(Path.Combine(bin, "initdb")))
            : null;
        if (programs is null)
        {
            Missing = $"PostgreSQL is not installed in {Installed}. Get it with: apt-get install postgresql";
            return;
        }
        // The server refuses to run as root.
        var asRoot = Environment.UserName == "root";
        if (asRoot)
            await RunAsync("chown", "postgres", _folder);
        string[] user = asRoot ? ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"] : ["env"];
        await RunAsync(user[0], [.. user[1..], Path.Combine(programs, "initdb"), "-D", Data, "-U", SuperUser, "--auth=trust", "--no-sync", "--encoding=UTF8", "--locale=C"]);
        _port = Ports.Free();
        _server = Start(user[0], [.. user[1..], Path.Combine(programs, "postgres"), "-D", Data, "-p", $"{_port}", "-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=", "-c", "fsync=off"]);
        await AnswersAsync();
    }

    /// <summary>The connection string of a new, empty database.</summary>
    public async Task<string> CreateDatabaseAsync()
    {
        if (Missing is not null)
            Assert.Skip(Missing);
        var name = $"test{Interlocked.Increment(ref _databases)}";
        await using var connection = new NpgsqlConnection(ConnectionTo("postgres"));
        await connection.OpenAsync();
        await using var command = new NpgsqlCommand($"CREATE DATABASE {name}", connection);
        await command.ExecuteNonQueryAsync();
        return ConnectionTo(name);
    }

    public async ValueTask DisposeAsync()
    {
        if (_server is not null)
        {
            // Fast shutdown: SIGINT, which Process cannot send.
            await RunAsync("kill", "-INT", $"{_server.Id}");
            await _server.WaitForExitAsync();
            _server.Dispose();
            NpgsqlConnection.ClearAllPools();
        }
        Directory.Delete(_folder, recursive: true);
    }

    private string ConnectionTo(string database) => $"Host=127.0.0.1;Port={_port};Username={SuperUser};Database={database};Timeout=5";

    private async Task AnswersAsync()
    {
        using var patience = new CancellationTokenSource(TimeSpan.FromSeconds(30));
        while (true)
        {
            try
            {
                await using var connection = new NpgsqlConnection(ConnectionTo("postgres"));
                await connection.OpenAsync(patience.Token);
                return;
            }
            catch (NpgsqlException) when (!_server!.HasExited)
            {
                await Task.Delay(50, patience.Token);
            }
        }
    }

    private static async Task RunAsync(string program, params string[] arguments)
    {
        using var process = Start(program, arguments);
        await process.WaitForExitAsync();
        Assert.True(process.ExitCode == 0, $"{program} {string.Join(' ', arguments)} ended with {process.ExitCode}");
    }

    private static Process Start(string program, params string[] arguments)
    {
        var start = new ProcessStartInfo(program, arguments) { RedirectStandardOutput = true, RedirectStandardError = true, WorkingDirectory = "/" };
        var process = Process.Start(start)!;
        process.OutputDataReceived += (_, _) => { };
        process.ErrorDataReceived += (_, _) => { };
        process.BeginOutputReadLine();
        process.BeginErrorReadLine();
        return process;
    }
}
