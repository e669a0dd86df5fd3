using System.Globalization;
using System.IO.Enumeration;
using System.IO.Hashing;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using Sora.Protocol.Jobs;

namespace Sora.Model.Data.Sources;

/// <summary>
/// Real text on every machine that can build this: the XML documentation in the .NET SDK's reference packs, or where there are
/// none that of the restored NuGet packages; or of some assemblies only, a text of its own for each who asks. One document a documented member; prose that was seen before is dropped.
/// </summary>
internal sealed class DotnetDocsInput : CorpusInput
{
    private readonly IReadOnlyList<FileInfo> _files;
    private readonly Lazy<IReadOnlyList<string>> _documents;

    private DotnetDocsInput(string name, IReadOnlyList<FileInfo> files)
    {
        Name = name;
        _files = files;
        _documents = new(Extract);
        Bytes = files.Sum(file => file.Length);
    }

    public override string Name { get; }

    public override long Bytes { get; }

    public override string Stamp => string.Join('\n', _files.Select(file => string.Create(CultureInfo.InvariantCulture, $"{file.FullName} {file.Length} {file.LastWriteTimeUtc.Ticks}")));

    /// <summary>Whether a source of <c>data.train</c> is the documentation, or that of some assemblies.</summary>
    public static bool IsNamed(string source) => source == InputList.DotnetDocs || source.StartsWith(InputList.DotnetDocs + ":", StringComparison.Ordinal);

    /// <summary>Finds the documentation on this machine.</summary>
    /// <param name="source"><c>dotnet-docs</c>; or <c>dotnet-docs:ASSEMBLIES</c>, with <c>*</c> for any letters and commas between several.</param>
    /// <exception cref="SoraException">There is none.</exception>
    public static DotnetDocsInput Find(string source) => Find(source, DotnetRoots(), NuGetFolder());

    internal static DotnetDocsInput Find(string source, IEnumerable<string> dotnetRoots, string nuGetFolder)
    {
        var files = dotnetRoots.Select(root => XmlFiles(Path.Combine(root, "packs"), IsReferenceDocumentation)).FirstOrDefault(found => found.Count > 0)
            ?? XmlFiles(nuGetFolder, path => File.Exists(Path.ChangeExtension(path, ".dll")));
        if (files.Count == 0)
            throw new SoraException(
                $"There is no {InputList.DotnetDocs} on this machine: neither reference packs in a .NET SDK's 'packs' folder nor documentation in {nuGetFolder}. " +
                "Install the .NET 10 SDK (https://dot.net), or set DOTNET_ROOT to it, or name other text in data.train.", ExitCode.InvalidInput);
        if (source == InputList.DotnetDocs)
            return new(source, files);
        var assemblies = source[(InputList.DotnetDocs.Length + 1)..].Split(',', StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries);
        var ofThese = files.Where(file => assemblies.Any(assembly => FileSystemName.MatchesSimpleExpression(assembly, Path.GetFileNameWithoutExtension(file.Name), ignoreCase: false))).ToList();
        return ofThese.Count > 0 ? new(source, ofThese) : throw new SoraException(
            $"{source} matches none of the {files.Count} documented assemblies on this machine. Write their names, such as {InputList.DotnetDocs}:System.Linq or {InputList.DotnetDocs}:System.Xml.*.", ExitCode.InvalidInput);
    }

    public override async IAsyncEnumerable<TextBatch> ReadAsync([EnumeratorCancellation] CancellationToken cancellationToken)
    {
        // The work of the first call: leave the caller's thread to the other inputs meanwhile.
        var documents = await Task.Run(() => _documents.Value, cancellationToken);
        var totalChars = documents.Sum(document => (long)document.Length);
        var (batch, chars, charsBefore, reported) = (new List<string>(), 0, 0L, 0L);
        for (var i = 0; i < documents.Count; i++)
        {
            batch.Add(documents[i]);
            chars += documents[i].Length;
            if (chars < BatchBytes && i < documents.Count - 1) continue;
            charsBefore += chars;
            var read = (long)((double)charsBefore / totalChars * Bytes);
            yield return new DocumentBatch(batch) { InputBytes = read - reported };
            (batch, chars, reported) = ([], 0, read);
        }
    }

    private IReadOnlyList<string> Extract()
    {
        // Packs repeat each other's files (ASP.NET Core's carries all of .NET's): equal files are parsed once.
        var contents = _files.AsParallel().AsOrdered().Select(file => (File: file, Hash: HashOf(file))).AsEnumerable().DistinctBy(file => file.Hash);
        var members = contents.AsParallel().AsOrdered().WithMergeOptions(ParallelMergeOptions.NotBuffered)
            .Select(file => DocumentationXml.Read(file.File.FullName));

        var seen = new HashSet<UInt128>();
        var documents = new List<string>();
        foreach (var (heading, prose) in members.SelectMany(member => member))
            if (seen.Add(XxHash128.HashToUInt128(MemoryMarshal.AsBytes(prose.AsSpan()))))
                documents.Add($"{heading}\n\n{prose}\n");
        return documents;
    }

    private static UInt128 HashOf(FileInfo file)
    {
        var hash = new XxHash128();
        using var stream = file.OpenRead();
        hash.Append(stream);
        return hash.GetCurrentHashAsUInt128();
    }

    // packs/Microsoft.NETCore.App.Ref/10.0.0/ref/net10.0/System.Runtime.xml
    private static bool IsReferenceDocumentation(string path) =>
        path.Split('/', '\\') is [.., "ref", var framework, _] && framework.StartsWith("net", StringComparison.Ordinal);

    private static List<FileInfo> XmlFiles(string folder, Func<string, bool> wanted) => !Directory.Exists(folder) ? [] :
    [
        .. new DirectoryInfo(folder).EnumerateFiles("*.xml", new EnumerationOptions { RecurseSubdirectories = true, IgnoreInaccessible = true })
            .Where(file => wanted(file.FullName))
            .OrderBy(file => Path.GetRelativePath(folder, file.FullName).Replace('\\', '/'), StringComparer.Ordinal),
    ];

    private static IEnumerable<string> DotnetRoots()
    {
        if (Environment.GetEnvironmentVariable("DOTNET_ROOT") is { Length: > 0 } root) yield return root;
        if (Environment.GetEnvironmentVariable("DOTNET_HOST_PATH") is { Length: > 0 } host) yield return Path.GetDirectoryName(host)!;
        yield return Path.GetFullPath(Path.Combine(RuntimeEnvironment.GetRuntimeDirectory(), "..", "..", "..")); // ROOT/shared/Microsoft.NETCore.App/VERSION
        if (OperatingSystem.IsWindows())
        {
            yield return Path.Combine(Environment.GetFolderPath(Environment.SpecialFolder.ProgramFiles), "dotnet");
        }
        else
        {
            yield return "/usr/share/dotnet";
            yield return "/usr/lib/dotnet";
            yield return "/usr/local/share/dotnet";
        }
        yield return Path.Combine(Environment.GetFolderPath(Environment.SpecialFolder.UserProfile), ".dotnet");
    }

    private static string NuGetFolder() => Environment.GetEnvironmentVariable("NUGET_PACKAGES") is { Length: > 0 } folder
        ? folder
        : Path.Combine(Environment.GetFolderPath(Environment.SpecialFolder.UserProfile), ".nuget", "packages");
}
