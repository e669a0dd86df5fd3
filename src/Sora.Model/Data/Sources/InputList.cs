using Microsoft.Extensions.FileSystemGlobbing;
using Sora.Protocol.Jobs;

namespace Sora.Model.Data.Sources;

/// <summary>Finds what a job's <c>data.train</c> names: files, folders, globs, URLs, <c>dotnet-docs</c>.</summary>
internal static class InputList
{
    /// <summary>The name of the documentation that comes with the .NET SDK; a folder of this name is <c>./dotnet-docs</c>.</summary>
    public const string DotnetDocs = "dotnet-docs";

    /// <summary>Finds the inputs, in a fixed order; URLs are downloaded into the cache folder.</summary>
    /// <exception cref="SoraException">Something is missing or matches nothing.</exception>
    public static async Task<IReadOnlyList<CorpusInput>> FindAsync(
        DataSettings settings, Downloads downloads, IProgress<PrepareProgress>? progress, CancellationToken cancellationToken)
    {
        if (settings.Train.Count == 0)
            throw new SoraException($"There is nothing to read: data.train is empty. Name files, folders, globs, URLs or {DotnetDocs}.", ExitCode.Usage);

        var inputs = new List<CorpusInput>();
        var files = new HashSet<string>(OperatingSystem.IsWindows() ? StringComparer.OrdinalIgnoreCase : StringComparer.Ordinal);
        foreach (var source in settings.Train)
        {
            if (DotnetDocsInput.IsNamed(source)) inputs.Add(DotnetDocsInput.Find(source));
            else if (IsUrl(source)) inputs.Add(await downloads.GetAsync(new Uri(source), settings.TextField, progress, cancellationToken));
            else inputs.AddRange(FindFiles(source).Where(path => files.Add(Path.GetFullPath(path))).Select(path => new FileInput(path, settings.TextField)));
        }
        return inputs;
    }

    /// <summary>A source as the manifest names it: no absolute path, no secret of a URL.</summary>
    public static string PublicName(string source)
    {
        if (IsUrl(source)) return new Uri(source).GetComponents(UriComponents.SchemeAndServer | UriComponents.Path, UriFormat.UriEscaped);
        return Path.IsPathRooted(source) ? Path.GetFileName(Path.TrimEndingDirectorySeparator(source)) : source.Replace('\\', '/');
    }

    public static bool IsUrl(string source) =>
        source.StartsWith("http://", StringComparison.OrdinalIgnoreCase) || source.StartsWith("https://", StringComparison.OrdinalIgnoreCase);

    private static IEnumerable<string> FindFiles(string source)
    {
        if (File.Exists(source))
            return FileInput.IsSupported(source) ? [source] : throw new SoraException(
                $"{source} has a type this program does not read. It reads {FileInput.SupportedTypes}; plain text under another name can be renamed to .txt.", ExitCode.InvalidInput);

        if (Directory.Exists(source))
        {
            if (PreparedCorpus.IsAt(source))
                throw new SoraException($"{source} is a corpus that is prepared already: give it as the only entry of data.train, or leave it out.", ExitCode.InvalidInput);
            return Match(source, "**/*", source);
        }

        if (source.Contains('*'))
        {
            var segments = source.Replace('\\', '/').Split('/');
            var fixedSegments = segments.TakeWhile(segment => !segment.Contains('*')).ToArray();
            var root = string.Join('/', fixedSegments) is { Length: > 0 } start ? start : source[0] is '/' or '\\' ? "/" : ".";
            if (!Directory.Exists(root)) throw new SoraException($"{source} matches nothing: there is no folder {root}.", ExitCode.InvalidInput);
            return Match(root, string.Join('/', segments.Skip(fixedSegments.Length)), source);
        }

        if (source.Contains("://", StringComparison.Ordinal))
            throw new SoraException($"{source} cannot be read: of URLs only http and https ones can.", ExitCode.InvalidInput);

        var hint = source.Contains('?') || source.Contains('[') ? " (in globs only * and ** are known)" : "";
        throw new SoraException($"{source} does not exist{hint}. Check the path{(Path.IsPathRooted(source) ? "" : $"; it is relative to {Directory.GetCurrentDirectory()}")}.", ExitCode.InvalidInput);
    }

    private static IEnumerable<string> Match(string root, string pattern, string source)
    {
        var matched = new Matcher(StringComparison.Ordinal).AddInclude(pattern).GetResultsInFullPath(root).ToList();
        var readable = matched
            .Where(path => FileInput.IsSupported(path) && !IsHidden(Path.GetRelativePath(root, path)))
            .OrderBy(path => Path.GetRelativePath(root, path).Replace('\\', '/'), StringComparer.Ordinal)
            .ToList();
        if (readable.Count == 0)
            throw new SoraException(
                $"{source} {(matched.Count == 0 ? "matches no file" : $"matches {matched.Count:N0} {(matched.Count == 1 ? "file, but not" : "files, but none")} of a type this program reads")}. It reads {FileInput.SupportedTypes}.",
                ExitCode.InvalidInput);
        return readable;
    }

    private static bool IsHidden(string relativePath) => relativePath.Split('/', '\\').Any(segment => segment.StartsWith('.'));
}
