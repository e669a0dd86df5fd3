using System.Text;

namespace Sora.Model.Data.Sources;

/// <summary>
/// Documentation ids as people write them: <c>M:System.String.IndexOf(System.Char,System.Int32)</c> is <c>String.IndexOf(Char, Int32)</c>.
/// The ids are those of the C# specification, annex D.
/// </summary>
internal static class DocumentationNames
{
    private static readonly Dictionary<string, string> Operators = ParseOperators("""
        Addition + Subtraction - Multiply * Division / Modulus % BitwiseAnd & BitwiseOr | ExclusiveOr ^ LeftShift << RightShift >>
        UnsignedRightShift >>> Equality == Inequality != LessThan < GreaterThan > LessThanOrEqual <= GreaterThanOrEqual >= LogicalNot !
        OnesComplement ~ UnaryNegation - UnaryPlus + Increment ++ Decrement -- True true False false Implicit implicit Explicit explicit
        """);

    /// <summary>The heading of a member's documentation: types with their namespace, members with their type.</summary>
    public static string Heading(string id, IReadOnlyList<string> typeParameters)
    {
        var (kind, name) = Kind(id);
        if (kind is 'T' or 'N') return (Namespace(name) is { Length: > 0 } space ? space + "." : "") + TypeSegment(LastSegment(name), typeParameters);
        return Member(kind, name, typeParameters);
    }

    /// <summary>What a <c>cref</c> shows: types without their namespace, members with their type.</summary>
    public static string Reference(string cref)
    {
        var (kind, name) = Kind(cref);
        return kind switch
        {
            'T' => new TypeExpression(name, []).Read(),
            'M' or 'P' or 'F' or 'E' or 'O' => Member(kind, name, []),
            _ => name,
        };
    }

    private static Dictionary<string, string> ParseOperators(string table)
    {
        var symbols = new Dictionary<string, string>();
        foreach (var pair in table.Split((char[]?)null, StringSplitOptions.RemoveEmptyEntries).Chunk(2))
        {
            symbols["op_" + pair[0]] = pair[1];
            symbols["op_Checked" + pair[0]] = "checked " + pair[1];
        }
        return symbols;
    }

    private static (char Kind, string Name) Kind(string id)
    {
        var colon = id.IndexOf(':');
        return colon <= 0 ? ('T', id) : (id[0], id[(colon + 1)..]);
    }

    private static string Member(char kind, string name, IReadOnlyList<string> typeParameters)
    {
        var arguments = name.IndexOf('(');
        var path = arguments < 0 ? name.Split('~')[0] : name[..arguments];
        var rest = arguments < 0 ? name[path.Length..] : name[arguments..];
        var type = TypeSegment(LastSegment(Namespace(path)), []);
        var member = LastSegment(path);
        var parameters = rest.Length == 0 ? "" : ParameterList(rest, typeParameters);

        if (member is "#ctor" or "#cctor") return $"{type}{(parameters.Length > 0 ? parameters : "()")}";
        if (Operators.TryGetValue(member, out var symbol)) return $"{type}.operator {symbol}{parameters}";
        if (kind == 'P' && member == "Item" && parameters.Length > 0) return $"{type}[{parameters[1..^1]}]";
        if (kind == 'M' && parameters.Length == 0) parameters = "()";
        return $"{type}.{MemberSegment(member, typeParameters)}{parameters}";
    }

    /// <summary>A member's own name; an explicit implementation has its interface's in front, with <c>#</c> for dots and <c>@</c> for commas.</summary>
    private static string MemberSegment(string member, IReadOnlyList<string> typeParameters)
    {
        var plain = member.Replace('#', '.').Replace('@', ',');
        var name = TypeSegment(LastSegment(plain), typeParameters);
        return Namespace(plain) is { Length: > 0 } implemented ? $"{new TypeExpression(implemented, typeParameters).Read()}.{name}" : name;
    }

    /// <summary><c>(A,B{C})~D</c> as <c>(A, B&lt;C&gt;)</c>.</summary>
    private static string ParameterList(string rest, IReadOnlyList<string> typeParameters) =>
        rest[0] == '(' ? $"({new TypeExpression(rest[1..], typeParameters).ReadList(')')})" : "";

    /// <summary><c>Dictionary`2</c> as <c>Dictionary&lt;TKey, TValue&gt;</c>.</summary>
    private static string TypeSegment(string segment, IReadOnlyList<string> typeParameters)
    {
        var tick = segment.IndexOf('`');
        if (tick < 0) return segment;
        if (!int.TryParse(segment.AsSpan(tick).TrimStart('`'), out var arity) || arity is < 1 or > 32) return segment[..tick];
        var names = typeParameters.Count == arity ? typeParameters : arity == 1 ? ["T"] : [.. Enumerable.Range(1, arity).Select(n => $"T{n}")];
        return $"{segment[..tick]}<{string.Join(", ", names)}>";
    }

    private static string LastSegment(string path) => path[(LastDot(path) + 1)..];

    private static string Namespace(string path) => LastDot(path) is > 0 and var dot ? path[..dot] : "";

    /// <summary>The last dot outside type arguments.</summary>
    private static int LastDot(string path)
    {
        var depth = 0;
        for (var i = path.Length - 1; i >= 0; i--)
        {
            if (path[i] == '}') depth++;
            else if (path[i] == '{') depth--;
            else if (path[i] == '.' && depth == 0) return i;
        }
        return -1;
    }

    /// <summary>A type inside an id: a path, then arguments in braces, then <c>[]</c>, <c>*</c> and <c>@</c> (by reference).</summary>
    private sealed class TypeExpression(string text, IReadOnlyList<string> typeParameters)
    {
        private int _at;

        public string Read()
        {
            var start = _at;
            while (_at < text.Length && text[_at] is not ('{' or '}' or ',' or '[' or '@' or '*' or ')' or '~' or '^')) _at++;
            var path = text[start.._at];
            var name = new StringBuilder(path.StartsWith('`') ? TypeParameter(path) : TypeSegment(LastSegment(path), []));

            while (_at < text.Length)
            {
                switch (text[_at])
                {
                    case '{':
                        _at++;
                        name.Append('<').Append(ReadList('}')).Append('>');
                        break;
                    case '[':
                        name.Append('[').Append(',', ReadBounds()).Append(']');
                        break;
                    case '@':
                        _at++;
                        name.Insert(0, "ref ");
                        break;
                    case '*':
                        _at++;
                        name.Append('*');
                        break;
                    case '.': // a type nested in a generic one
                        _at++;
                        name.Append('.').Append(Read());
                        break;
                    default:
                        return name.ToString();
                }
            }
            return name.ToString();
        }

        public string ReadList(char end)
        {
            var names = new List<string>();
            while (_at < text.Length && text[_at] != end)
            {
                var before = _at;
                names.Add(Read());
                if (_at < text.Length && (text[_at] == ',' || _at == before)) _at++; // always onward, also in ids nobody foresaw
            }
            _at++;
            return string.Join(", ", names);
        }

        private int ReadBounds()
        {
            var commas = 0;
            for (; _at < text.Length && text[_at] != ']'; _at++)
                if (text[_at] == ',') commas++;
            _at++;
            return commas;
        }

        private string TypeParameter(string path)
        {
            _ = int.TryParse(path.AsSpan().TrimStart('`'), out var index);
            if (path.StartsWith("``", StringComparison.Ordinal) && index < typeParameters.Count) return typeParameters[index];
            return index == 0 ? "T" : $"T{index + 1}";
        }
    }
}
