using CsCheck;
using Sora.Protocol.Api;
using Sora.Protocol.Generations;
using Sora.Protocol.Jobs;
using Sora.Protocol.Runs;
using static Sora.Protocol.Tests.Generations.CoordinatorScene;

namespace Sora.Protocol.Tests.Generations;

public sealed class CoordinatorBalancingTests
{
    [Fact]
    public void A_slow_worker_is_named_once_after_the_stated_time()
    {
        var scene = Running(3, 6);
        Beat(scene, seconds: 20, 1, 1, 4);
        Assert.Empty(scene.Events.OfType<RunWarning>());
        Beat(scene, seconds: 20, 1, 1, 4);
        Beat(scene, seconds: 20, 1, 1, 4);
        var warning = Assert.Single(scene.Events.OfType<RunWarning>());
        Assert.StartsWith("Worker w3 (host-w3, process 7) is slow: a lane takes it 2 s, the others 0.5 s", warning.Message, StringComparison.Ordinal);
        Assert.Equal(RunPhase.Running, scene.State.Phase);
    }

    [Fact]
    public void Lanes_move_away_from_a_slow_worker_and_come_back_when_it_is_fast_again()
    {
        var scene = Running(2, 8, spec => spec with { Straggler = StragglerPolicy.Replace });
        BeatUntilHalting(scene, 4, 12);
        scene.Halted("w1", 3).Halted("w2", 3).Form().Ready("w1", "w2");
        Assert.Equal([6, 2], scene.Plan.Members.Select(member => member.Lanes.Count));

        BeatUntilHalting(scene, 6, 2);
        scene.Halted("w1", 9).Halted("w2", 9).Form();
        Assert.Equal([4, 4], scene.Plan.Members.Select(member => member.Lanes.Count));
    }

    [Fact]
    public void Equally_fast_workers_keep_their_lanes()
    {
        var scene = Running(2, 8, spec => spec with { Straggler = StragglerPolicy.Replace });
        for (var i = 0; i < 50; i++)
            Beat(scene, seconds: 10, 4, 4.2);
        Assert.Equal(RunPhase.Running, scene.State.Phase);
    }

    [Fact]
    public void The_deal_by_pace_is_a_partition_and_no_single_move_makes_it_faster() =>
        Gen.Select(Gen.Double[0.1, 10].Array[1, 8], Gen.Int[0, 24]).Sample((paces, more) =>
        {
            var lanes = paces.Length + more;
            var deal = LaneRange.ByPace(paces, lanes);
            Assert.Equal(Enumerable.Range(0, lanes), deal.SelectMany(range => Enumerable.Range(range.First, range.Count)));
            Assert.All(deal, range => Assert.True(range.Count >= 1));
            var slowest = deal.Zip(paces).Max(pair => pair.First.Count * pair.Second);
            var worst = Enumerable.Range(0, paces.Length).First(rank => deal[rank].Count * paces[rank] == slowest);
            if (deal[worst].Count > 1)
                Assert.All(Enumerable.Range(0, paces.Length).Where(rank => rank != worst), rank => Assert.True((deal[rank].Count + 1) * paces[rank] >= slowest));
        });

    private static void BeatUntilHalting(CoordinatorScene scene, params double[] computeSeconds)
    {
        for (var i = 0; i < 100 && scene.State.Phase == RunPhase.Running; i++)
            Beat(scene, seconds: 10, computeSeconds);
        Assert.Equal(RunPhase.Halting, scene.State.Phase);
    }

    /// <summary>Every worker reports one step of so many seconds, the given part of which it computed.</summary>
    private static void Beat(CoordinatorScene scene, double seconds, params double[] computeSeconds)
    {
        for (var i = 0; i < computeSeconds.Length; i++)
        {
            scene.Say($"w{i + 1}", new FromWorker
            {
                Heartbeat = new Heartbeat
                {
                    Generation = (ulong)scene.Plan.Number,
                    Steps = 1,
                    ComputeSeconds = computeSeconds[i],
                    WaitSeconds = Math.Max(0, seconds - computeSeconds[i]),
                },
            });
        }
    }
}
