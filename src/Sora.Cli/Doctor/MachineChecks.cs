using System.Net;
using System.Net.Sockets;
using System.Runtime.InteropServices;
using Sora.Cli.Display;

namespace Sora.Cli.Doctor;

/// <summary>What the machine must offer so that processes on it can train together.</summary>
internal static class MachineChecks
{
    private const long LittleSpace = 2L << 30;

    public static IEnumerable<Finding> All(string cacheFolder)
    {
        yield return new Finding("program", Verdict.Good, $"{RuntimeInformation.FrameworkDescription} on {RuntimeInformation.OSDescription.Trim()}, {RuntimeInformation.ProcessArchitecture}");
        yield return Cores();
        yield return Finding.Of("memory", "Check the limits of the container or session.", Memory);
        yield return Finding.Of("loopback", "Workers talk to the coordinator over 127.0.0.1: allow it in the firewall or container.", Loopback);
        yield return Finding.Of("unix sockets", "Workers on one host will use TCP, which is slower.", UnixSocket);
        if (OperatingSystem.IsLinux()) yield return Finding.Of("shared memory", "Mount /dev/shm (Docker: --shm-size=2g).", SharedMemory);
        yield return Finding.Of("disk", "Prepared corpora go there: choose another folder with data.cache_dir.", () => Disk(cacheFolder));
    }

    private static Finding Cores() => Environment.ProcessorCount switch
    {
        1 => new("cores", Verdict.Note, "1 core", "Two workers will share it: the result is the same, but no faster than one."),
        var cores => new("cores", Verdict.Good, $"{cores} cores; 'workers' defaults to as many, each with threads_per_worker (default 1)"),
    };

    private static Finding Memory() => new("memory", Verdict.Good, $"{Format.Bytes(GC.GetGCMemoryInfo().TotalAvailableMemoryBytes)} for this process");

    private static Finding Loopback()
    {
        using var listener = new TcpListener(IPAddress.Loopback, 0);
        listener.Start();
        var endpoint = (IPEndPoint)listener.LocalEndpoint;
        using var client = new TcpClient();
        client.Connect(endpoint);
        using var accepted = listener.AcceptTcpClient();
        return new("loopback", Verdict.Good, $"ports can be opened and dialled on {endpoint.Address}");
    }

    private static Finding UnixSocket()
    {
        var path = Path.Combine(Path.GetTempPath(), $"sora-{Guid.NewGuid():N}");
        try
        {
            using var listener = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
            listener.Bind(new UnixDomainSocketEndPoint(path));
            listener.Listen();
            using var client = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
            client.Connect(new UnixDomainSocketEndPoint(path));
            return new("unix sockets", Verdict.Good, $"work in {Path.GetTempPath()}");
        }
        catch (Exception e) when (e is SocketException or PlatformNotSupportedException)
        {
            return new("unix sockets", Verdict.Note, e.Message, "Workers on one host will use TCP, which is slower.");
        }
        finally
        {
            File.Delete(path);
        }
    }

    private static Finding SharedMemory()
    {
        var drive = new DriveInfo("/dev/shm");
        if (!drive.IsReady) return new("shared memory", Verdict.Note, "/dev/shm is not there", "Mount it (Docker: --shm-size=2g) for the fastest exchange on one host.");
        return drive.AvailableFreeSpace < 256L << 20
            ? new("shared memory", Verdict.Note, $"/dev/shm has {Format.Bytes(drive.AvailableFreeSpace)} free", "Make it larger (Docker: --shm-size=2g).")
            : new("shared memory", Verdict.Good, $"/dev/shm has {Format.Bytes(drive.AvailableFreeSpace)} free");
    }

    private static Finding Disk(string folder)
    {
        Directory.CreateDirectory(folder);
        var probe = Path.Combine(folder, $".write-test-{Guid.NewGuid():N}");
        using (File.Create(probe, 1, FileOptions.DeleteOnClose)) { }
        var free = new DriveInfo(folder).AvailableFreeSpace;
        return free < LittleSpace
            ? new("disk", Verdict.Note, $"{Format.Bytes(free)} free in {folder}", "Free some, or choose another folder with data.cache_dir.")
            : new("disk", Verdict.Good, $"{Format.Bytes(free)} free in {folder}");
    }
}
