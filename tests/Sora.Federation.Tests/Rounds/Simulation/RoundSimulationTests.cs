using System.Globalization;
using System.Text;

namespace Sora.Federation.Tests.Rounds.Simulation;

/// <summary>
/// A thousand federated runs under faults: so many that each deliberate defect (<see cref="RoundMutationTests"/>) shows in them. SORA_ROUNDS_SEED plays a single one again and prints what happened in it;
/// SORA_ROUNDS_SCHEDULES says how many to play, SORA_ROUNDS_FIRST from which on.
/// </summary>
public sealed class RoundSimulationTests(ITestOutputHelper output)
{
    internal const int Schedules = 1_000;

    [Fact]
    public void Every_schedule_keeps_every_promise()
    {
        if (Setting("SORA_ROUNDS_SEED") is { } single)
        {
            Replay(single);
            return;
        }
        var first = Setting("SORA_ROUNDS_FIRST") ?? 1;
        var count = Setting("SORA_ROUNDS_SCHEDULES") ?? Schedules;
        var started = TimeProvider.System.GetTimestamp();
        var (failures, events) = Play(first, count, new RoundRules());
        var seconds = TimeProvider.System.GetElapsedTime(started).TotalSeconds;
        output.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{count} schedules, {events} events in {seconds:0.0} s"));
        Assert.True(failures.Count == 0, failures.Count == 0 ? "" : Describe(failures));
    }

    [Fact]
    public void The_same_seed_plays_the_same_run()
    {
        for (var seed = 1; seed <= 20; seed++)
            Assert.Equal(Trace(seed).Trace, Trace(seed).Trace);
    }

    internal static (IReadOnlyList<(int Seed, Exception Why)> Failures, long Events) Play(int first, int count, RoundRules rules)
    {
        var failures = new List<(int, Exception)>();
        var events = 0L;
        Parallel.For(first, first + count, seed =>
        {
            var simulation = new Simulation(seed, rules);
            try
            {
                simulation.Run();
            }
            catch (Exception why)
            {
                lock (failures)
                    failures.Add((seed, why));
            }
            Interlocked.Add(ref events, simulation.Events);
        });
        failures.Sort((one, other) => one.Item1.CompareTo(other.Item1));
        return (failures, events);
    }

    private void Replay(int seed)
    {
        var (trace, failure) = Trace(seed);
        foreach (var line in trace)
            output.WriteLine(line);
        Assert.True(failure is null, failure?.ToString());
    }

    private static (IReadOnlyList<string> Trace, Exception? Failure) Trace(int seed)
    {
        var simulation = new Simulation(seed, new RoundRules(), trace: true);
        try
        {
            simulation.Run();
            return (simulation.Trace, null);
        }
        catch (Exception why)
        {
            return (simulation.Trace, why);
        }
    }

    private static string Describe(IReadOnlyList<(int Seed, Exception Why)> failures)
    {
        const int Shown = 60;
        var text = new StringBuilder();
        foreach (var (seed, why) in failures.Take(10))
            text.AppendLine(CultureInfo.InvariantCulture, $"seed {seed}: {why.GetType().Name} {why.Message}");
        var first = failures[0];
        text.AppendLine(CultureInfo.InvariantCulture, $"{failures.Count} schedules failed. The end of seed {first.Seed}:");
        foreach (var line in Trace(first.Seed).Trace.TakeLast(Shown))
            text.AppendLine(line);
        text.AppendLine("All of it:");
        text.AppendLine(CultureInfo.InvariantCulture, $"SORA_ROUNDS_SEED={first.Seed} dotnet test tests/Sora.Federation.Tests --filter FullyQualifiedName~RoundSimulationTests --logger 'console;verbosity=detailed'");
        return text.ToString();
    }

    private static int? Setting(string name) => Environment.GetEnvironmentVariable(name) is { Length: > 0 } value ? int.Parse(value, CultureInfo.InvariantCulture) : null;
}
