using System.Diagnostics;

namespace Sora.Benchmarks.Processes;

/// <summary>A PostgreSQL of its own, on loopback, in a folder given. It writes to disk as it would for an operator.</summary>
internal sealed class Postgres : IDisposable
{
    private const string Installed = "/usr/lib/postgresql";

    private readonly ChildProcess _server;
    private readonly int _port = Ports.Free();

    public Postgres(string folder)
    {
        var programs = (Directory.Exists(Installed) ? Directory.GetDirectories(Installed) : []).Select(version => Path.Combine(version, "bin")).LastOrDefault(bin => File.Exists(Path.Combine(bin, "initdb")))
            ?? throw new InvalidOperationException($"PostgreSQL is not installed in {Installed}. Get it with: apt-get install postgresql");
        Directory.CreateDirectory(folder);
        // The server refuses to run as root.
        string[] user = Environment.UserName == "root" ? ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"] : ["env"];
        if (Environment.UserName == "root")
        {
            Run("chmod", "711", Path.GetDirectoryName(folder)!);
            Run("chown", "postgres", folder);
        }
        var data = Path.Combine(folder, "data");
        Run([.. user, Path.Combine(programs, "initdb"), "-D", data, "-U", "sora", "--auth=trust", "--encoding=UTF8", "--locale=C"]);
        _server = ChildProcess.Start(
            Redirected([.. user, Path.Combine(programs, "postgres"), "-D", data, "-p", $"{_port}", "-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories="]),
            folder + ".log", null);
        var answers = new ProcessStartInfo(Path.Combine(programs, "pg_isready"), ["-h", "127.0.0.1", "-p", $"{_port}", "-t", "1"]) { RedirectStandardOutput = true, WorkingDirectory = "/" };
        for (var tries = 0; ; tries++)
        {
            using var asked = Process.Start(answers)!;
            asked.WaitForExit();
            if (asked.ExitCode == 0)
                return;
            if (tries == 300 || _server.HasEnded)
                throw new InvalidOperationException($"PostgreSQL does not start; see {folder}.log.");
            asked.WaitForExit(100);
        }
    }

    public string Connection => $"Host=127.0.0.1;Port={_port};Username=sora;Database=postgres;Timeout=5";

    public void Dispose()
    {
        // Fast shutdown: its own processes end with it.
        _server.Send(ChildProcess.Signal.Interrupt);
        _server.Ended.Wait(TimeSpan.FromSeconds(20));
        _server.Dispose();
    }

    private static void Run(params string[] command)
    {
        using var process = Process.Start(Redirected(command))!;
        process.StandardOutput.ReadToEnd();
        process.WaitForExit();
        if (process.ExitCode != 0)
            throw new InvalidOperationException($"{string.Join(' ', command)} ended with exit code {process.ExitCode}.");
    }

    private static ProcessStartInfo Redirected(string[] command) =>
        new(command[0], command[1..]) { RedirectStandardOutput = true, RedirectStandardError = true, WorkingDirectory = "/" };
}
