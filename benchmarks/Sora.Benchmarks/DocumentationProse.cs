using System.Xml;

namespace Sora.Benchmarks;

/// <summary>English prose that every .NET SDK carries: the summaries and remarks in the documentation files of its reference packs.</summary>
internal static class DocumentationProse
{
    /// <summary>Paragraphs, each once, up to so many characters.</summary>
    public static IReadOnlyList<string> Read(int mostCharacters)
    {
        var root = Path.Combine(Path.GetDirectoryName(Environment.ProcessPath) is { } folder && Directory.Exists(Path.Combine(folder, "packs")) ? folder : DotnetRoot(), "packs");
        var paragraphs = new List<string>();
        var seen = new HashSet<string>();
        var length = 0;
        foreach (var file in Directory.EnumerateFiles(root, "*.xml", SearchOption.AllDirectories).Order(StringComparer.Ordinal))
        {
            using var reader = XmlReader.Create(file);
            while (reader.Read())
            {
                if (reader.NodeType != XmlNodeType.Element || reader.Name is not ("summary" or "remarks" or "param" or "returns" or "exception")) continue;
                using var part = reader.ReadSubtree();
                var text = Text(part);
                if (text.Length < 20 || !seen.Add(text)) continue;
                paragraphs.Add(text);
                length += text.Length;
                if (length >= mostCharacters) return paragraphs;
            }
        }
        return paragraphs;
    }

    private static string DotnetRoot() =>
        Environment.GetEnvironmentVariable("DOTNET_ROOT") ?? Path.GetFullPath(Path.Combine(Path.GetDirectoryName(typeof(object).Assembly.Location)!, "../../.."));

    private static string Text(XmlReader part)
    {
        var text = new System.Text.StringBuilder();
        while (part.Read())
        {
            if (part.NodeType is XmlNodeType.Text or XmlNodeType.CDATA or XmlNodeType.Whitespace or XmlNodeType.SignificantWhitespace) text.Append(part.Value);
            // A reference reads as the last part of its name: "T:System.String" as "String".
            if (part.NodeType == XmlNodeType.Element && part.GetAttribute("cref") is { } target)
                text.Append(target[(target.IndexOf(':') + 1)..].Split('(')[0].Split('.')[^1]);
        }
        return text.ToString().Trim();
    }
}
