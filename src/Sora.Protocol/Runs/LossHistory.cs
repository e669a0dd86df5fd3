using System.Text;
using System.Text.Json;
using System.Text.Json.Serialization;
using System.Text.Json.Serialization.Metadata;
using Sora.Protocol.Jobs;

namespace Sora.Protocol.Runs;

/// <summary>
/// <c>metrics.jsonl</c> of a run's output folder: a line for each committed step and each evaluation, in the words of
/// <c>--json</c>. It outlives the process, so that the loss curve of a resumed run begins at step one.
/// </summary>
public sealed class LossHistory : IDisposable
{
    /// <summary>The file's name.</summary>
    public const string FileName = "metrics.jsonl";

    private static readonly JsonSerializerOptions _json = new()
    {
        PropertyNamingPolicy = JsonNamingPolicy.SnakeCaseLower,
        NumberHandling = JsonNumberHandling.AllowNamedFloatingPointLiterals,
        TypeInfoResolver = new DefaultJsonTypeInfoResolver { Modifiers = { NameEvents } },
    };

    private readonly string _path;
    private readonly StreamWriter _file;
    private long _lastStep;
    private long _lastEvaluation;

    private LossHistory(string path, long lastStep, long lastEvaluation)
    {
        (_path, _lastStep, _lastEvaluation) = (path, lastStep, lastEvaluation);
        _file = new StreamWriter(path, append: true, new UTF8Encoding(false)) { AutoFlush = true, NewLine = "\n" };
    }

    /// <summary>Opens the history of a run to go on from a step: what was recorded after it, by work that is being repeated, is dropped.</summary>
    /// <param name="outputDir">The run's output folder; made where it does not exist.</param>
    /// <param name="resumeStep">Steps committed at the start; 0 for a fresh run.</param>
    /// <exception cref="SoraException">The folder cannot be written.</exception>
    public static LossHistory Open(string outputDir, long resumeStep)
    {
        var path = Path.Combine(outputDir, FileName);
        try
        {
            Directory.CreateDirectory(outputDir);
            var lastEvaluation = -1L;
            if (File.Exists(path))
            {
                var kept = ReadEvents(path).Where(happened => StepOf(happened) <= resumeStep).ToList();
                var temporary = path + ".partial";
                File.WriteAllText(temporary, string.Concat(kept.Select(happened => JsonSerializer.Serialize(happened, _json) + "\n")));
                File.Move(temporary, path, overwrite: true);
                lastEvaluation = kept.OfType<Evaluated>().Select(StepOf).DefaultIfEmpty(-1).Max();
            }
            return new LossHistory(path, resumeStep, lastEvaluation);
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            throw CannotWrite(path, exception);
        }
    }

    /// <summary>Records a step, unless it is one that was told before: a coordinator that was restarted may repeat itself.</summary>
    /// <returns>Whether it is news.</returns>
    /// <exception cref="SoraException">The disk is full.</exception>
    public bool Append(StepCommitted step) => Append(step, ref _lastStep);

    /// <summary>Records an evaluation, unless it is one that was told before.</summary>
    /// <returns>Whether it is news.</returns>
    /// <exception cref="SoraException">The disk is full.</exception>
    public bool Append(Evaluated evaluation) => Append(evaluation, ref _lastEvaluation);

    /// <summary>All recorded steps and evaluations of a run, in step order; where one was recorded twice, the later record.</summary>
    /// <exception cref="SoraException">The file is there but cannot be read.</exception>
    public static (IReadOnlyList<StepCommitted> Steps, IReadOnlyList<Evaluated> Evaluations) Read(string outputDir)
    {
        var path = Path.Combine(outputDir, FileName);
        try
        {
            var events = File.Exists(path) ? ReadEvents(path) : [];
            return (Latest(events.OfType<StepCommitted>()), Latest(events.OfType<Evaluated>()));
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            throw new SoraException($"Cannot read {path}: {exception.Message}", ExitCode.Failure, exception);
        }
    }

    /// <inheritdoc/>
    public void Dispose() => _file.Dispose();

    private bool Append(RunEvent happened, ref long last)
    {
        // The same step has the same numbers whoever computed it, so the first record is as good as any.
        if (StepOf(happened) <= last)
            return false;
        try
        {
            _file.WriteLine(JsonSerializer.Serialize(happened, _json));
            last = StepOf(happened);
            return true;
        }
        catch (IOException exception)
        {
            throw CannotWrite(_path, exception);
        }
    }

    private static SoraException CannotWrite(string path, Exception exception) =>
        new($"Cannot write {path}: {exception.Message} Free some space or choose an output folder that can be written.", ExitCode.Failure, exception);

    private static IReadOnlyList<T> Latest<T>(IEnumerable<T> events) where T : RunEvent =>
        [.. events.GroupBy(StepOf).OrderBy(group => group.Key).Select(group => group.Last())];

    private static List<RunEvent> ReadEvents(string path)
    {
        var events = new List<RunEvent>();
        foreach (var line in File.ReadLines(path))
        {
            try
            {
                if (JsonSerializer.Deserialize<RunEvent>(line, _json) is { } happened)
                    events.Add(happened);
            }
            catch (Exception exception) when (exception is JsonException or NotSupportedException)
            {
                // A process killed in the middle of a line leaves half of it. The curve can do without that step.
            }
        }
        return events;
    }

    private static long StepOf(RunEvent happened) => happened switch
    {
        StepCommitted step => step.Step,
        Evaluated evaluation => evaluation.Step,
        _ => throw new ArgumentException($"A history holds no {happened.GetType().Name}.", nameof(happened)),
    };

    private static void NameEvents(JsonTypeInfo type)
    {
        if (type.Type != typeof(RunEvent))
            return;
        type.PolymorphismOptions = new JsonPolymorphismOptions
        {
            TypeDiscriminatorPropertyName = "event",
            DerivedTypes = { new JsonDerivedType(typeof(StepCommitted), "step"), new JsonDerivedType(typeof(Evaluated), "evaluation") },
        };
    }
}
