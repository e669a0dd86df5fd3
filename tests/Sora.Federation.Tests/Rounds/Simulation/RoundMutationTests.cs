using System.Globalization;

namespace Sora.Federation.Tests.Rounds.Simulation;

/// <summary>A simulator that never complains proves nothing: it must notice when the protocol is wrong.</summary>
public sealed class RoundMutationTests(ITestOutputHelper output)
{
    private const int Batch = 8;

    // The rarest show late: their search begins where they showed last, and comes round to the first schedule if they moved.
    private static readonly Dictionary<string, int> ShownLast = new()
    {
        ["a round without a quorum waits for ever"] = 489,
        ["a site that was restarted makes another update"] = 873,
    };

    public static TheoryData<string> Names => [.. RoundMutations.All.Keys];

    [Theory]
    [MemberData(nameof(Names))]
    public void A_broken_protocol_is_noticed(string mutation)
    {
        var start = ShownLast.GetValueOrDefault(mutation, 1);
        for (var played = 0; played < RoundSimulationTests.Schedules; played += Batch)
        {
            var first = 1 + (start - 1 + played) % RoundSimulationTests.Schedules;
            var (failures, _) = RoundSimulationTests.Play(first, Batch, RoundMutations.All[mutation]);
            if (failures.FirstOrDefault(failure => failure.Why is BrokenPromise) is not { Why: { } why } noticed)
                continue;
            output.WriteLine(string.Create(CultureInfo.InvariantCulture, $"| {mutation} | {noticed.Seed} | {why.Message} |"));
            return;
        }
        Assert.Fail($"Nobody noticed in {RoundSimulationTests.Schedules} schedules that {mutation}.");
    }
}
