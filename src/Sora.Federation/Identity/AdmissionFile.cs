using System.Text;
using System.Text.Encodings.Web;
using System.Text.Json;
using System.Text.Json.Serialization;
using Sora.Protocol.Jobs;

namespace Sora.Federation.Identity;

/// <summary>
/// The admission list on disk. A change replaces the whole file at once, so that a reader and a crash see the old list or the new one;
/// a file that is not understood entirely lets nobody in.
/// </summary>
public static class AdmissionFile
{
    private const int Version = 1;

    private static readonly JsonSerializerOptions Options = new()
    {
        PropertyNamingPolicy = JsonNamingPolicy.SnakeCaseLower,
        UnmappedMemberHandling = JsonUnmappedMemberHandling.Disallow,
        RespectNullableAnnotations = true,
        RespectRequiredConstructorParameters = true,
        AllowDuplicateProperties = false,
        Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping,
        WriteIndented = true,
        NewLine = "\n",
    };

    private sealed record Content(int Version, IReadOnlyList<AdmissionEntry> Sites);

    /// <summary>Reads the list.</summary>
    /// <exception cref="SoraException">There is none, or it is not sound.</exception>
    public static AdmissionList Load(string path)
    {
        try
        {
            var content = JsonSerializer.Deserialize<Content>(File.ReadAllBytes(path), Options);
            if (content is null || content.Sites.Contains(null!)) throw new JsonException("null stands where a site belongs");
            if (content.Version != Version) throw new JsonException($"it has version {content.Version}, this program knows {Version}");
            foreach (var site in content.Sites) Check(site);
            if (content.Sites.Select(site => site.Fingerprint).Distinct().Count() < content.Sites.Count) throw new JsonException("a key stands in it twice");
            return new AdmissionList(content.Sites);
        }
        catch (Exception e) when (e is JsonException or FormatException or SoraException)
        {
            throw new SoraException($"The admission list {path} is not sound, so it lets nobody in: {e.Message}", ExitCode.InvalidInput, e);
        }
        catch (Exception e) when (e is FileNotFoundException or DirectoryNotFoundException)
        {
            throw new SoraException($"There is no admission list {path}. 'sora site register' makes it.", ExitCode.Usage, e);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new SoraException($"The admission list {path} cannot be read: {e.Message}", ExitCode.Failure, e);
        }
    }

    /// <summary>Changes the list; without a file it begins empty. Two changes at a time do not lose one another.</summary>
    /// <returns>The new list.</returns>
    /// <exception cref="SoraException">The change is refused, or the file cannot be read or written; the old one is in force then.</exception>
    public static AdmissionList Change(string path, Func<AdmissionList, AdmissionList> change)
    {
        try
        {
            Directory.CreateDirectory(Path.GetDirectoryName(Path.GetFullPath(path))!);
            using var turn = new FileStream(path + ".lock", FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.None);
            var changed = change(File.Exists(path) ? Load(path) : AdmissionList.Empty);
            var temporary = path + ".new";
            using (var file = new FileStream(temporary, FileMode.Create, FileAccess.Write))
            {
                file.Write(Encoding.UTF8.GetBytes(JsonSerializer.Serialize(new Content(Version, changed.Entries), Options) + "\n"));
                file.Flush(flushToDisk: true);
            }
            File.Move(temporary, path, overwrite: true);
            return changed;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new SoraException($"The admission list {path} cannot be changed: {e.Message} If another command is changing it, try again.", ExitCode.Failure, e);
        }
    }

    private static void Check(AdmissionEntry site)
    {
        if (!JobValidation.IsName(site.Name)) throw new JsonException($"'{site.Name}' cannot name a site");
        if (PublicKey.Import(Convert.FromBase64String(site.PublicKey)).Fingerprint != site.Fingerprint) throw new JsonException($"the key of '{site.Name}' has another fingerprint than stands there");
    }
}
