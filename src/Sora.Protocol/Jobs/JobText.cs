using System.Diagnostics;
using System.Text;
using YamlDotNet.Core;
using YamlDotNet.Core.Events;
using YamlDotNet.RepresentationModel;

namespace Sora.Protocol.Jobs;

/// <summary>YAML text to nodes that know their line; every way a text can fail to be YAML becomes one clear error.</summary>
internal static class JobText
{
    private static readonly UTF8Encoding StrictUtf8 = new(encoderShouldEmitUTF8Identifier: false, throwOnInvalidBytes: true);

    /// <summary>Reads a job file, or another kind of settings that <paramref name="noun"/> names in errors.</summary>
    /// <exception cref="JobErrors">It is missing, unreadable or not text.</exception>
    public static string ReadFile(string path, string noun = "job")
    {
        try
        {
            return StrictUtf8.GetString(File.ReadAllBytes(path)).TrimStart('\uFEFF');
        }
        catch (DecoderFallbackException e)
        {
            throw Error(path, $"is not UTF-8 text (byte {e.Index}); save it as UTF-8.");
        }
        catch (Exception e) when (e is FileNotFoundException or DirectoryNotFoundException)
        {
            throw Error(path, $"there is no such {noun} file.{Neighbour(path)}");
        }
        catch (UnauthorizedAccessException) when (Directory.Exists(path))
        {
            throw Error(path, $"is a folder; name the {noun} file in it.");
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw Error(path, $"cannot be read: {e.Message}");
        }
    }

    /// <summary>Parses one YAML document.</summary>
    /// <returns>Its root, or null when it is empty.</returns>
    /// <exception cref="JobErrors">It is not YAML.</exception>
    public static YamlNode? Parse(string text, string source, string noun = "job")
    {
        var stream = new YamlStream();
        var scanner = new Scanner(new StringReader(text));
        try
        {
            stream.Load(new Parser(scanner));
        }
        catch (AnchorNotFoundException)
        {
            var alias = UnknownAlias(text);
            throw Error(source, alias.Start, $"the alias '*{alias.Value}' has no anchor '&{alias.Value}' above it; text that begins with '*' needs quotes.");
        }
        catch (YamlException e)
        {
            // The library repeats the place in its own message and says little else when a key comes twice.
            var inner = e.InnerException?.Message ?? e.Message;
            // Of a tab it says a wrong place or none, but that is where it stopped reading.
            var isTab = e is SyntaxErrorException && inner.Contains(" tab ", StringComparison.Ordinal);
            throw Error(source, isTab ? scanner.CurrentPosition : e.Start, isTab ? "this line is indented with a tab, which YAML forbids; use spaces." : $"this is not valid YAML: {inner.TrimEnd('.')}.");
        }
        catch (Exception e) when (e is InvalidOperationException or ArgumentException or IndexOutOfRangeException)
        {
            // Some malformed texts trip the parser itself, near the place where it stopped reading.
            throw Error(source, scanner.CurrentPosition, "this is not valid YAML: a bracket or quote may not be closed, or the indentation may be off.");
        }
        return stream.Documents.Count switch
        {
            0 => null,
            1 => stream.Documents[0].RootNode,
            _ => throw Error(source, $"holds several YAML documents (---); a {noun} is one."),
        };
    }

    private static JobErrors Error(string path, string message) => new([new JobError(null, new JobOrigin(path), message)]);

    private static JobErrors Error(string path, Mark at, string message) => new([new JobError(null, new JobOrigin(path, at.Line, at.Column), message)]);

    // The library looks aliases up when it has read everything, and has forgotten by then where they were.
    private static AnchorAlias UnknownAlias(string text)
    {
        var parser = new Parser(new StringReader(text));
        var known = new HashSet<AnchorName>();
        while (parser.MoveNext())
        {
            if (parser.Current is AnchorAlias alias && !known.Contains(alias.Value)) return alias;
            if (parser.Current is NodeEvent { Anchor.IsEmpty: false } node) known.Add(node.Anchor);
        }
        throw new UnreachableException();
    }

    private static string Neighbour(string path)
    {
        var folder = Path.GetDirectoryName(Path.GetFullPath(path))!;
        if (!Directory.Exists(folder)) return $" The folder {folder} does not exist either.";
        var names = Directory.EnumerateFiles(folder).Select(Path.GetFileName).Where(name => name!.EndsWith(".yaml") || name.EndsWith(".yml")).ToArray();
        return NearestName.Of(Path.GetFileName(path), names!) is { } near ? $" Did you mean '{near}'?" : $" Looked in {folder}.";
    }
}
