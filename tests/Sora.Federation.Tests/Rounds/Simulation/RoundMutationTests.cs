using System.Globalization;

namespace Sora.Federation.Tests.Rounds.Simulation;

/// <summary>A simulator that never complains proves nothing: it must notice when the protocol is wrong.</summary>
public sealed class RoundMutationTests(ITestOutputHelper output)
{
    private const int Most = 2_000;
    private const int Batch = 40;

    public static TheoryData<string> Names => [.. RoundMutations.All.Keys];

    [Theory]
    [MemberData(nameof(Names))]
    public void A_broken_protocol_is_noticed(string mutation)
    {
        for (var first = 1; first <= Most; first += Batch)
        {
            var (failures, _) = RoundSimulationTests.Play(first, Batch, RoundMutations.All[mutation]);
            if (failures.FirstOrDefault(failure => failure.Why is BrokenPromise) is not { Why: { } why } noticed)
                continue;
            output.WriteLine(string.Create(CultureInfo.InvariantCulture, $"| {mutation} | {noticed.Seed} | {why.Message} |"));
            return;
        }
        Assert.Fail($"Nobody noticed in {Most} schedules that {mutation}.");
    }
}
