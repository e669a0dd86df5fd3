using System.Security.Cryptography;
using System.Text;
using Sora.Protocol.Jobs;

namespace Sora.Federation.Identity;

/// <summary>A site's public key with its name, as the site sends it to the operator.</summary>
/// <param name="Name">The site's name.</param>
/// <param name="Key">Its key.</param>
public sealed record NamedPublicKey(string Name, PublicKey Key);

/// <summary>
/// Identity keys on disk: the private key that only its owner can read, and beside it <c>.pub</c>, the file to send to the operator.
/// Neither is ever overwritten.
/// </summary>
public static class KeyFiles
{
    private const UnixFileMode OwnerOnly = UnixFileMode.UserRead | UnixFileMode.UserWrite;

    /// <summary>Where the public half of a key file is.</summary>
    public static string PublicPathOf(string path) => path + ".pub";

    /// <summary>Writes both files.</summary>
    /// <exception cref="SoraException">One of them is there already, or cannot be written.</exception>
    public static void Write(string path, IdentityKey key, string name)
    {
        RequireName(name);
        var publicPath = PublicPathOf(path);
        if (new[] { path, publicPath }.FirstOrDefault(File.Exists) is { } there)
            throw new SoraException($"{there} is there already, and a key is never overwritten. Choose another name.", ExitCode.Usage);
        WriteNew(path, key.Pem + "\n", OwnerOnly);
        WriteNew(publicPath, $"site: {name}\nfingerprint: {key.Public.Fingerprint}\n{key.Public.Pem}\n", mode: null);
    }

    /// <summary>Reads a private key.</summary>
    /// <exception cref="SoraException">It cannot be read, others can read it, or it is none.</exception>
    public static IdentityKey ReadPrivate(string path)
    {
        var text = Read(path);
        if (!OperatingSystem.IsWindows() && (File.GetUnixFileMode(path) & ~(OwnerOnly | UnixFileMode.UserExecute)) != 0)
            throw new SoraException($"{path} can be read by others, and who reads it can be this site. Run: chmod 600 {path}. If others may have read it, make a new key.", ExitCode.Usage);
        return About(path, () => IdentityKey.FromPem(text));
    }

    /// <summary>Reads a public key and its name.</summary>
    /// <exception cref="SoraException">It cannot be read, or what it says of the key is not true.</exception>
    public static NamedPublicKey ReadPublic(string path)
    {
        var text = Read(path);
        if (!PemEncoding.TryFind(text, out var pem) || text[pem.Label] != "PUBLIC KEY")
            throw new SoraException($"{path} holds no public key. It is the .pub file that 'sora site keygen' wrote beside the private key; the private key itself is never sent.", ExitCode.InvalidInput);
        var key = About(path, () => PublicKey.Import(Convert.FromBase64String(text[pem.Base64Data])));
        var said = text[..pem.Location.Start.Value].Split('\n').Select(line => line.Split(':', 2)).Where(parts => parts.Length == 2)
            .GroupBy(parts => parts[0].Trim()).ToDictionary(group => group.Key, group => group.Last()[1].Trim());
        if (said.GetValueOrDefault("fingerprint") is { } fingerprint && fingerprint != key.Fingerprint)
            throw new SoraException($"{path} says its fingerprint is {fingerprint}, but that of its key is {key.Fingerprint}: one of them was changed. Ask the site for both again.", ExitCode.InvalidInput);
        var name = said.GetValueOrDefault("site") ?? throw new SoraException($"{path} does not say whose key it is: a line 'site: NAME' is missing.", ExitCode.InvalidInput);
        RequireName(name);
        return new NamedPublicKey(name, key);
    }

    /// <summary>Refuses what could not name a file, a line of a list, or a certificate.</summary>
    internal static void RequireName(string name)
    {
        if (!JobValidation.IsName(name))
            throw new SoraException($"'{name}' cannot name a site: use letters, digits, '-', '_' and '.', starting with a letter or digit.", ExitCode.Usage);
    }

    /// <summary>Writes a file that must not be there yet; on Unix with at most the given mode from its first moment on.</summary>
    internal static void WriteNew(string path, string text, UnixFileMode? mode)
    {
        try
        {
            Directory.CreateDirectory(Path.GetDirectoryName(Path.GetFullPath(path))!);
            var options = new FileStreamOptions { Mode = FileMode.CreateNew, Access = FileAccess.Write };
            if (mode is { } bits && !OperatingSystem.IsWindows()) options.UnixCreateMode = bits;
            using var file = new FileStream(path, options);
            file.Write(Encoding.UTF8.GetBytes(text));
            file.Flush(flushToDisk: true);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new SoraException($"{path} cannot be written: {e.Message}", ExitCode.Failure, e);
        }
    }

    /// <summary>Writes a private key's file.</summary>
    internal static void WritePrivate(string path, string pem) => WriteNew(path, pem, OwnerOnly);

    private static string Read(string path)
    {
        try
        {
            return File.ReadAllText(path);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new SoraException($"{path} cannot be read: {e.Message}", ExitCode.Usage, e);
        }
    }

    private static T About<T>(string path, Func<T> read)
    {
        try
        {
            return read();
        }
        catch (SoraException e)
        {
            throw new SoraException($"{path}: {e.Message}", e.ExitCode, e);
        }
    }
}
