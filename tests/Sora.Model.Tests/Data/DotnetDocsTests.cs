using System.Text;
using Sora.Model.Data.Sources;
using Sora.Protocol.Jobs;

namespace Sora.Model.Tests.Data;

public class DotnetDocsTests
{
    [Theory]
    [InlineData("T:System.String", "System.String")]
    [InlineData("M:System.String.IndexOf(System.Char,System.Int32)", "String.IndexOf(Char, Int32)")]
    [InlineData("M:System.AppDomain.ClearPrivatePath", "AppDomain.ClearPrivatePath()")]
    [InlineData("P:System.AppContext.BaseDirectory", "AppContext.BaseDirectory")]
    [InlineData("P:System.Collections.Generic.List`1.Item(System.Int32)", "List<T>[Int32]")]
    [InlineData("M:System.String.#ctor(System.Char[],System.Int32,System.Int32)", "String(Char[], Int32, Int32)")]
    [InlineData("M:System.Collections.Generic.Comparer`1.Create(System.Comparison{`0})", "Comparer<T>.Create(Comparison<T>)")]
    [InlineData("M:System.Int32.TryParse(System.String,System.Int32@)", "Int32.TryParse(String, ref Int32)")]
    [InlineData("M:System.Numerics.Vector`1.op_Explicit(System.Numerics.Vector{`0})~System.Numerics.Vector{System.Int32}", "Vector<T>.operator explicit(Vector<T>)")]
    [InlineData("M:A.B.op_CheckedAddition(A.B,A.B)", "B.operator checked +(B, B)")]
    [InlineData("M:A.B.Fill(System.Int32[0:,0:],System.Double*)", "B.Fill(Int32[,], Double*)")]
    [InlineData("M:A.ReadOnlySet`1.System#Collections#Generic#ICollection{T}#CopyTo(`0[],System.Int32)", "ReadOnlySet<T>.ICollection<T>.CopyTo(T[], Int32)")]
    [InlineData("F:System.TimeSpan.MillisecondsPerDay", "TimeSpan.MillisecondsPerDay")]
    public void Heading_DocumentationId_ReadsLikeTheReference(string id, string heading) => Assert.Equal(heading, DocumentationNames.Heading(id, []));

    [Fact]
    public void Heading_GenericMethod_UsesItsOwnTypeParameterNames() =>
        Assert.Equal(
            "Queryable.All<TSource>(IQueryable<TSource>, Expression<Func<TSource, Boolean>>)",
            DocumentationNames.Heading("M:System.Linq.Queryable.All``1(System.Linq.IQueryable{``0},System.Linq.Expressions.Expression{System.Func{``0,System.Boolean}})", ["TSource"]));

    [Theory]
    [InlineData("")]
    [InlineData("M:")]
    [InlineData("M:}{((")]
    [InlineData("!:Unknown thing")]
    [InlineData("M:a{b{c,,(@[")]
    public void Reference_OddIds_StillGiveText(string cref) => Assert.NotNull(DocumentationNames.Reference(cref));

    [Fact]
    public void Read_Member_IsProseWithReadableNames()
    {
        const string xml = """
            <doc><members>
              <member name="M:System.Text.Parser.Parse(System.String)">
                <summary>
                  Parses a <see cref="T:System.String" />,
                  or returns <see langword="null"/>.
                </summary>
                <param name="text">The text; see <paramref name="text"/> and <c>Parse</c>.</param>
                <exception cref="T:System.ArgumentNullException"><paramref name="text" /> is <see langword="null" />.</exception>
                <returns>The value.</returns>
                <remarks><para>First.</para><para>Second, <see cref="P:System.String.Length">the length</see>.</para>
                  <list type="bullet"><item><term>One</term><description> is first.</description></item><item><description>Two</description></item></list>
                </remarks>
                <example><code>
                    if (x)
                        y();
                </code></example>
              </member>
              <member name="M:A.B.C"><inheritdoc/></member>
            </members></doc>
            """;

        var (heading, prose) = Assert.Single(DocumentationXml.Read(new MemoryStream(Encoding.UTF8.GetBytes(xml))));

        Assert.Equal("Parser.Parse(String)", heading);
        Assert.Equal("""
            Parses a String, or returns null.

            Parameters:
              text: The text; see text and Parse.

            Exceptions:
              ArgumentNullException: text is null.

            Returns: The value.

            First.
            Second, the length.
            - One: is first.
            - Two

              if (x)
                  y();
            """, prose);
    }

    [Fact]
    public async Task Find_Packs_DropsEqualFilesAndEqualProse()
    {
        using var folder = new TestFolder();
        const string file = """<doc><members><member name="P:N.A.X"><summary>Gets it.</summary></member><member name="P:N.A.Y"><summary>Gets it.</summary></member></members></doc>""";
        folder.File("packs/One.Ref/10.0.0/ref/net10.0/One.xml", file);
        folder.File("packs/Two.Ref/10.0.0/ref/net10.0/One.xml", file);
        folder.File("packs/Two.Ref/10.0.0/ref/net10.0/Two.xml", file.Replace("it", "that").Replace("N.A", "N.B"));
        folder.File("packs/Two.Ref/10.0.0/data/Other.xml", "<no/>");

        var input = DotnetDocsInput.Find("dotnet-docs", [folder["absent"], folder.Path], folder["nuget"]);

        Assert.Equal(["A.X\n\nGets it.\n", "B.X\n\nGets that.\n"], await TextAsync(input));
    }

    [Theory]
    [InlineData("dotnet-docs:Two", "B.X\n\nGets that.\n")]
    [InlineData("dotnet-docs:One, Absent", "A.X\n\nGets it.\n")]
    [InlineData("dotnet-docs:*o", "B.X\n\nGets that.\n")]
    public async Task Find_SomeAssemblies_ReadsTheirsOnly(string source, string expected)
    {
        using var folder = new TestFolder();
        folder.File("packs/Ref/10.0.0/ref/net10.0/One.xml", """<doc><members><member name="P:N.A.X"><summary>Gets it.</summary></member></members></doc>""");
        folder.File("packs/Ref/10.0.0/ref/net10.0/Two.xml", """<doc><members><member name="P:N.B.X"><summary>Gets that.</summary></member></members></doc>""");

        var input = DotnetDocsInput.Find(source, [folder.Path], folder["nuget"]);

        Assert.Equal([expected], await TextAsync(input));
        Assert.Equal(source, input.Name);
        Assert.Contains("matches none of the 2", Assert.Throws<SoraException>(() => DotnetDocsInput.Find("dotnet-docs:Three", [folder.Path], folder["nuget"])).Message);
    }

    [Fact]
    public async Task Find_NoPacks_ReadsThePackagesDocumentation()
    {
        using var folder = new TestFolder();
        folder.File("nuget/lib/1.0.0/lib/net8.0/Lib.xml", """<doc><members><member name="T:N.A"><summary>A class.</summary></member></members></doc>""");
        folder.File("nuget/lib/1.0.0/lib/net8.0/Lib.dll", "");
        folder.File("nuget/lib/1.0.0/build/unrelated.xml", "<no/>");

        Assert.Equal(["N.A\n\nA class.\n"], await TextAsync(DotnetDocsInput.Find("dotnet-docs", [folder.Path], folder["nuget"])));
    }

    [Fact]
    public void Find_NothingThere_SaysWhatToInstall()
    {
        using var folder = new TestFolder();
        var error = Assert.Throws<SoraException>(() => DotnetDocsInput.Find("dotnet-docs", [folder.Path], folder["nuget"]));
        Assert.Equal(ExitCode.InvalidInput, error.ExitCode);
        Assert.Contains("Install the .NET 10 SDK", error.Message);
    }

    private static async Task<List<string>> TextAsync(CorpusInput input)
    {
        var texts = new List<string>();
        await foreach (var batch in input.ReadAsync(TestContext.Current.CancellationToken))
            texts.AddRange(batch.Decode().Select(part => part.Text.ToString()));
        return texts;
    }
}
