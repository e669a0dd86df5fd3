using Sora.Benchmarks.Processes;
using Sora.Protocol.Runs;
using static System.FormattableString;

namespace Sora.Benchmarks.Soak;

/// <summary>Steps a second of so many workers to which nothing happens.</summary>
internal sealed record FaultFreeRate(int Workers, double StepsPerSecond);

/// <summary>A fault, and when.</summary>
internal sealed record FaultDone(double Time, Fault Kind);

/// <summary>What was seen of the disturbed run.</summary>
internal sealed record SoakSeen
{
    public required double From { get; init; }
    public required double To { get; init; }
    public required RunTimeline Timeline { get; init; }
    public required IReadOnlyList<FaultDone> Faults { get; init; }
    public required IReadOnlyList<FaultFreeRate> Before { get; init; }
    public required IReadOnlyList<FaultFreeRate> After { get; init; }
    public required IReadOnlyList<(double Time, int Change)> Live { get; init; }
    public required IReadOnlyList<(double Time, int Change)> Started { get; init; }
    public required IReadOnlyList<double> StartCosts { get; init; }
    public required int UnaskedEnds { get; init; }
    public required long LastStep { get; init; }
    public required IReadOnlyDictionary<long, string> Losses { get; init; }
    public required string WeightsSha256 { get; init; }
}

/// <summary>The arithmetic of a soak, and its tables.</summary>
internal static class SoakReport
{
    private const int Workers = 4;

    /// <returns>Whether the result was that of the undisturbed run and nobody had to do anything.</returns>
    public static bool Print(SoakSeen seen, (IReadOnlyDictionary<long, string> Losses, string WeightsSha256) undisturbed, double minutes, int seed)
    {
        var steps = seen.Timeline.All<StepCommitted>().Where(step => step.Time >= seen.From && step.Time <= seen.To).ToList();
        var (first, last) = (steps[0].Time, steps[^1].Time);
        var committed = steps.Count - 1;
        var rates = Enumerable.Range(1, Workers + 1).ToDictionary(workers => workers, workers => (Of(seen.Before, workers) + Of(seen.After, workers)) / 2);
        var (live, started) = (Expected(seen.Live, rates, first, last), Expected(seen.Started, rates, first, last));

        Console.WriteLine(Invariant($"## `Sora.Benchmarks soak {minutes} {seed}`"));
        Console.WriteLine(Invariant($"decoder 4x128, context 128, 8 lanes x batch 2, vocabulary 4096, 1 thread a worker, {Workers} workers on {Environment.ProcessorCount} cores; {seen.Faults.Count} faults in {(seen.To - seen.From) / 60:0.0} minutes, one every 15-30 s."));
        Console.WriteLine();
        Console.WriteLine("| live workers | before, steps/s | after, steps/s | share of the time |");
        Console.WriteLine("|---|---|---|---|");
        foreach (var workers in rates.Keys)
            Console.WriteLine(Invariant($"| {workers} | {Of(seen.Before, workers):0.000} | {Of(seen.After, workers):0.000} | {Share(seen.Live, workers, first, last):0.0 %} |"));
        Console.WriteLine();
        Console.WriteLine("| what | |");
        Console.WriteLine("|---|---|");
        Console.WriteLine(Invariant($"| steps committed | {committed} in {last - first:0} s |"));
        Console.WriteLine(Invariant($"| **of the fault-free throughput over the same schedule of live workers** | **{committed / live:0.0 %}** |"));
        Console.WriteLine(Invariant($"| the same, a worker counting from the start of its process instead of when the run let it in | {committed / started:0.0 %} |"));
        Console.WriteLine(Invariant($"| of {Workers} undisturbed workers | {committed / ((last - first) * rates[Workers]):0.0 %} |"));
        Console.WriteLine(Invariant($"| CPU of a worker process until it is let in, median | {Median(seen.StartCosts):0.00} s ({seen.StartCosts.Count}) |"));
        var missing = Enumerable.Range(1, (int)seen.LastStep).Count(step => !seen.Losses.ContainsKey(step));
        var different = seen.Losses.Count(step => undisturbed.Losses.GetValueOrDefault(step.Key) != step.Value);
        var same = seen.WeightsSha256.Length > 0 && seen.WeightsSha256 == undisturbed.WeightsSha256;
        Console.WriteLine(Invariant($"| loss curve beside an undisturbed run | {seen.Losses.Count} steps, {missing} missing, {different} different |"));
        Console.WriteLine($"| weights after the last step | {(same ? "the same" : "DIFFERENT")}, {seen.WeightsSha256[..Math.Min(16, seen.WeightsSha256.Length)]} |");
        Console.WriteLine($"| manual actions | 0; processes that ended unasked: {seen.UnaskedEnds} |");
        Console.WriteLine();
        PrintCosts(seen, rates[Workers]);
        return missing == 0 && different == 0 && same && seen.UnaskedEnds == 0;
    }

    /// <summary>
    /// A fault's costs lie between it and the next one. A stall is measured where the step is computed, for what the coordinator
    /// reports comes late when it is the coordinator that died.
    /// </summary>
    private static void PrintCosts(SoakSeen seen, double rate)
    {
        var all = seen.Timeline.All<StepCommitted>();
        var quiet = 1 / rate;
        Console.WriteLine("| fault | times | longest gap between reported steps beyond a step, median (worst), s | longest step where it is computed beyond a step, median, s | training lost until the next fault, median (worst), s |");
        Console.WriteLine("|---|---|---|---|---|");
        foreach (var kind in Enum.GetValues<Fault>())
        {
            var (gaps, computed, lost) = (new List<double>(), new List<double>(), new List<double>());
            for (var index = 0; index < seen.Faults.Count; index++)
            {
                if (seen.Faults[index].Kind != kind)
                    continue;
                var (from, to) = (seen.Faults[index].Time, index + 1 < seen.Faults.Count ? seen.Faults[index + 1].Time : seen.To);
                var inside = all.Where(step => step.Time >= from && step.Time < to).ToList();
                if (inside.Count == 0 || all.LastOrDefault(step => step.Time < from) is not { Event: not null } before)
                    continue;
                var times = inside.Select(step => step.Time).Prepend(before.Time).ToList();
                gaps.Add(times.Zip(times.Skip(1), (a, b) => b - a).Max() - quiet);
                computed.Add(inside.Max(step => step.Event.ComputeSeconds + step.Event.ExchangeSeconds + step.Event.WaitForDataSeconds) - quiet);
                lost.Add(times[^1] - times[0] - inside.Count * quiet);
            }
            if (gaps.Count > 0)
                Console.WriteLine(Invariant($"| {Words(kind)} | {gaps.Count} | {Median(gaps):0.00} ({gaps.Max():0.00}) | {Median(computed):0.00} | {Median(lost):0.00} ({lost.Max():0.00}) |"));
        }
    }

    /// <summary>Steps that the live workers would have committed undisturbed.</summary>
    private static double Expected(IReadOnlyList<(double Time, int Change)> schedule, Dictionary<int, double> rates, double from, double to) =>
        Spans(schedule, from, to).Sum(span => span.Seconds * rates.GetValueOrDefault(span.Workers, 0));

    private static double Share(IReadOnlyList<(double Time, int Change)> schedule, int workers, double from, double to) =>
        Spans(schedule, from, to).Where(span => span.Workers == workers).Sum(span => span.Seconds) / (to - from);

    private static IEnumerable<(int Workers, double Seconds)> Spans(IReadOnlyList<(double Time, int Change)> schedule, double from, double to)
    {
        var (workers, since) = (0, from);
        foreach (var (time, change) in schedule)
        {
            if (time > from && since < to)
            {
                yield return (workers, Math.Min(time, to) - since);
                since = Math.Min(time, to);
            }
            workers += change;
        }
        if (since < to)
            yield return (workers, to - since);
    }

    private static double Of(IReadOnlyList<FaultFreeRate> rates, int workers) => rates.First(rate => rate.Workers == workers).StepsPerSecond;

    private static double Median(IReadOnlyList<double> values)
    {
        var sorted = values.Order().ToList();
        return sorted.Count == 0 ? double.NaN : sorted[sorted.Count / 2];
    }

    private static string Words(Fault kind) => kind switch
    {
        Fault.Kill => "kill -9 of a worker",
        Fault.Pause => "SIGSTOP of a worker for 1-10 s",
        Fault.Drain => "SIGTERM of a worker",
        Fault.Join => "one more worker",
        _ => "kill -9 of the coordinator",
    };
}
