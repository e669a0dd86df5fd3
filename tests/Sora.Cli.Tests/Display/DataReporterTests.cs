using Sora.Cli.Display;
using Sora.Model.Data;

namespace Sora.Cli.Tests.Display;

public class DataReporterTests
{
    private static readonly PrepareProgress Said = new(PreparePhase.TrainingTokenizer, Message: "The vocabulary has 300 entries.");

    private readonly StringWriter _output = new();
    private readonly StringWriter _errors = new();

    [Fact]
    public void What_a_preparation_says_stays_on_screen_as_a_warning()
    {
        new DataReporter(new PlainDisplay(_output, _errors, TimeProvider.System)).Report(Said);
        Assert.Equal("sora: warning: The vocabulary has 300 entries.", _errors.ToString().TrimEnd());
    }

    [Fact]
    public void What_a_preparation_says_reaches_programs_too()
    {
        var reporter = new DataReporter(new JsonDisplay(_output));
        reporter.Report(new(PreparePhase.Encoding, 1, 2));
        reporter.Report(Said);
        Assert.Equal("""{"event":"warning","message":"The vocabulary has 300 entries."}""", _output.ToString().TrimEnd());
    }
}
