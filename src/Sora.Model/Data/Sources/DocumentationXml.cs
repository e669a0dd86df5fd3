using System.Text;
using System.Xml;
using Sora.Protocol.Jobs;

namespace Sora.Model.Data.Sources;

/// <summary>Reads the XML documentation a compiler writes as prose.</summary>
internal static class DocumentationXml
{
    private static readonly XmlReaderSettings Settings = new()
    {
        IgnoreComments = true,
        IgnoreProcessingInstructions = true,
        DtdProcessing = DtdProcessing.Prohibit,
    };

    /// <summary>The documented members of a file, in its order: a heading and the prose below it.</summary>
    public static List<(string Heading, string Prose)> Read(string path)
    {
        using var file = new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.Read, 1 << 16, FileOptions.SequentialScan);
        try
        {
            return Read(file);
        }
        catch (XmlException e)
        {
            throw new SoraException($"{path} is not valid XML documentation: {e.Message}", ExitCode.InvalidInput, e);
        }
    }

    internal static List<(string Heading, string Prose)> Read(Stream xml)
    {
        var members = new List<(string, string)>();
        using var reader = XmlReader.Create(xml, Settings);
        while (reader.ReadToFollowing("member"))
            if (reader.GetAttribute("name") is { } id && ReadMember(reader, id) is { } member)
                members.Add(member);
        return members;
    }

    private static (string Heading, string Prose)? ReadMember(XmlReader reader, string id)
    {
        if (reader.IsEmptyElement) return null;
        var prose = new StringBuilder();
        var typeParameters = new List<string>();
        var section = "";
        var depth = reader.Depth;
        reader.Read();
        while (reader.Depth > depth)
        {
            if (reader.NodeType != XmlNodeType.Element)
            {
                reader.Read();
                continue;
            }
            var element = reader.LocalName;
            var subject = element switch
            {
                "param" or "typeparam" => reader.GetAttribute("name") ?? "",
                "exception" => DocumentationNames.Reference(reader.GetAttribute("cref") ?? ""),
                _ => "",
            };
            if (element == "typeparam") typeParameters.Add(subject);
            var text = new ProseReader(reader).Read();
            if (text.Length == 0) continue;

            switch (element)
            {
                case "summary" or "remarks" or "example":
                    Paragraph(prose).Append(text);
                    break;
                case "returns" or "value":
                    Paragraph(prose).Append(element == "returns" ? "Returns: " : "Value: ").Append(text);
                    break;
                case "param" or "typeparam":
                    if (section != "param") Paragraph(prose).Append("Parameters:");
                    prose.Append("\n  ").Append(subject).Append(": ").Append(text);
                    break;
                case "exception":
                    if (section != "exception") Paragraph(prose).Append("Exceptions:");
                    prose.Append("\n  ").Append(subject).Append(": ").Append(text);
                    break;
                default: // pointers to elsewhere, and elements private to a few libraries
                    continue;
            }
            section = element == "typeparam" ? "param" : element;
        }
        return prose.Length == 0 ? null : (DocumentationNames.Heading(id, typeParameters), prose.ToString());
    }

    private static StringBuilder Paragraph(StringBuilder prose) => prose.Length == 0 ? prose : prose.Append("\n\n");
}

/// <summary>The text inside one element: references resolved to names, white space normalised, lines broken where paragraphs and items end.</summary>
internal sealed class ProseReader(XmlReader reader)
{
    private readonly StringBuilder _text = new();
    private bool _space;
    private bool _lineBreak;

    /// <summary>Reads the element the reader stands on, and moves behind it.</summary>
    public string Read()
    {
        ReadContent();
        return _text.ToString();
    }

    private void ReadContent()
    {
        var depth = reader.Depth;
        var empty = reader.IsEmptyElement;
        reader.Read();
        if (empty) return;
        while (reader.Depth > depth)
        {
            if (reader.NodeType == XmlNodeType.Element)
            {
                ReadElement();
            }
            else
            {
                if (reader.NodeType is XmlNodeType.Text or XmlNodeType.CDATA or XmlNodeType.Whitespace or XmlNodeType.SignificantWhitespace) Append(reader.Value);
                reader.Read();
            }
        }
        reader.Read();
    }

    private void ReadElement()
    {
        switch (reader.LocalName)
        {
            case "see" or "seealso" or "xref" or "paramref" or "typeparamref" when reader.IsEmptyElement:
                Append(Referenced());
                reader.Read();
                break;
            case "para" or "p" or "div" or "li" or "listheader":
                _lineBreak = true;
                ReadContent();
                _lineBreak = true;
                break;
            case "item":
                _lineBreak = true;
                Append("- ");
                ReadContent();
                _lineBreak = true;
                break;
            case "term":
                ReadContent();
                _space = false;
                Append(": ");
                break;
            case "br":
                _lineBreak = true;
                ReadContent();
                break;
            case "code":
                ReadCode();
                break;
            default:
                ReadContent();
                break;
        }
    }

    private string Referenced() =>
        reader.GetAttribute("cref") is { } cref ? DocumentationNames.Reference(cref)
        : reader.GetAttribute("uid") is { } uid ? DocumentationNames.Reference(Uri.UnescapeDataString(uid).TrimEnd('*'))
        : reader.GetAttribute("langword") ?? reader.GetAttribute("name") ?? reader.GetAttribute("href") ?? "";

    /// <summary>Code of several lines keeps them, less their common indentation; a single line is a word in a sentence.</summary>
    private void ReadCode()
    {
        using var code = reader.ReadSubtree();
        var source = new StringBuilder();
        while (code.Read())
            if (code.NodeType is XmlNodeType.Text or XmlNodeType.CDATA or XmlNodeType.Whitespace or XmlNodeType.SignificantWhitespace)
                source.Append(code.Value);
        code.Close();
        reader.Read();

        var lines = source.ToString().ReplaceLineEndings("\n").TrimEnd().Split('\n').Select(line => line.TrimEnd()).SkipWhile(line => line.Length == 0).ToArray();
        if (lines.Length == 0) return;
        if (lines.Length == 1)
        {
            Append(lines[0]);
            return;
        }
        var indentation = lines.Where(line => line.Length > 0).Select(line => line.Length - line.TrimStart().Length).DefaultIfEmpty(0).Min();
        if (_text.Length > 0) _text.Append('\n');
        _text.AppendJoin('\n', lines.Select(line => line.Length > 0 ? "  " + line[indentation..] : "")).Replace("\t", "    ");
        (_space, _lineBreak) = (false, true);
    }

    private void Append(string text)
    {
        foreach (var c in text)
        {
            if (char.IsWhiteSpace(c))
            {
                _space = true;
                continue;
            }
            if (_text.Length > 0)
            {
                if (_lineBreak) _text.Append('\n');
                else if (_space) _text.Append(' ');
            }
            (_space, _lineBreak) = (false, false);
            _text.Append(c);
        }
    }
}
