using CsCheck;
using Sora.Federation.Privacy;

namespace Sora.Federation.Tests.Privacy.Budget;

/// <summary>Under power failures at any byte of any write the ledger never counts less than what was released, and never locks itself out.</summary>
public class LedgerCrashTests
{
    private static readonly PrivacyBudget Budget = new("site/job", 1000, 1e-5, "rdp");

    private static readonly Gen<(int Kind, int Choice, int Used)> Steps = Gen.Select(Gen.Int[0, 2], Gen.Int[0, 20], Gen.Int[0, 3]);

    private static readonly PrivacyEvent[] Releases = [new(1.5, 1, 3), new(4, 1, 1), new(0.875, 1, 2)];

    [Fact]
    public void A_power_failure_at_any_byte_of_any_write_never_loses_a_release() =>
        Gen.Select(Steps.Array[1, 6], Gen.Int[0, 2500].Array[1, 4]).Sample((steps, failures) =>
        {
            var storage = new MemoryStorage();
            var (released, open) = (new List<PrivacyEvent>(), new List<BudgetReservation>());
            foreach (var failure in failures)
            {
                storage.BytesUntilPowerFails = failure;
                try
                {
                    using var ledger = storage.Log.Count == 0 || !WasBegun(storage) ? BudgetLedger.Create(storage, Budget, TimeProvider.System) : BudgetLedger.Open(storage, Budget, TimeProvider.System);
                    foreach (var (kind, choice, used) in steps) Play(ledger, kind, choice, used, released, open);
                }
                catch (IOException)
                {
                    // The machine starts again.
                }
                open.Clear(); // who reserved is gone too; what was not settled stays spent
                storage.BytesUntilPowerFails = int.MaxValue;
                AssertCounted(storage, released);
            }
            if (!WasBegun(storage)) return;
            using var last = BudgetLedger.Open(storage, Budget, TimeProvider.System);
            last.Reserve("after all", Releases[0]);
            released.Add(Releases[0]);
            AssertCounted(storage, released);
        }, iter: 400);

    [Fact]
    public void Every_single_byte_of_one_reservation_can_be_the_last()
    {
        for (var bytes = 0; ; bytes++)
        {
            var storage = Begun();
            storage.BytesUntilPowerFails = bytes;
            var granted = false;
            try
            {
                using var ledger = BudgetLedger.Open(storage, Budget, TimeProvider.System);
                ledger.Reserve("round 2", Releases[1]);
                granted = true;
            }
            catch (IOException)
            {
            }
            storage.BytesUntilPowerFails = int.MaxValue;
            AssertCounted(storage, granted ? [Releases[0], Releases[1]] : [Releases[0]]);
            using (var again = BudgetLedger.Open(storage, Budget, TimeProvider.System)) again.Reserve("round 3", Releases[2]);
            AssertCounted(storage, [Releases[0], Releases[2]]);
            if (granted) return;
        }
    }

    [Fact]
    public void A_reservation_cut_short_counts_as_the_one_it_was_going_to_be_or_as_the_last()
    {
        var storage = Begun();
        var (whole, head) = (storage.Log.Count, storage.Head);
        using (var ledger = BudgetLedger.Open(storage, Budget, TimeProvider.System)) ledger.Reserve("round 2", Releases[1]);
        var second = storage.Log.Count;
        for (var length = whole + 1; length < second; length++)
        {
            var contents = LedgerContents.Read(storage.Log.Take(length).ToArray(), head, "x")!;
            Assert.True(contents.IsTorn);
            var spent = contents.Spent.ToArray();
            Assert.Equal(2, spent.Length);
            Assert.True(spent[1] == Releases[0] || spent[1] == Releases[1]);
        }
        Assert.Equal(Releases[1], LedgerContents.Read(storage.Log.Take(second - 1).ToArray(), head, "x")!.TornEvent);
    }

    private static MemoryStorage Begun()
    {
        var storage = new MemoryStorage();
        using var ledger = BudgetLedger.Create(storage, Budget, TimeProvider.System);
        ledger.Reserve("round 1", Releases[0]);
        return storage;
    }

    private static void Play(BudgetLedger ledger, int kind, int choice, int used, List<PrivacyEvent> released, List<BudgetReservation> open)
    {
        if (kind < 2 || open.Count == 0)
        {
            var releases = Releases[choice % Releases.Length];
            open.Add(ledger.Reserve($"round {choice}", releases));
            released.Add(releases); // the round starts and everything in it is released
            return;
        }
        var reservation = open[choice % open.Count];
        open.Remove(reservation);
        var happened = Math.Min(used, reservation.Event.Count);
        // Nothing was released beyond what is settled; the record of that may or may not reach the disk.
        released.Remove(reservation.Event);
        if (happened > 0) released.Add(reservation.Event with { Count = happened });
        ledger.Settle(reservation.Id, happened);
    }

    private static bool WasBegun(MemoryStorage storage) => LedgerContents.Read(storage.ReadLog(), storage.ReadHead(), storage.Name) is not null;

    // Counted releases of each kind, not epsilons: a strict comparison.
    private static void AssertCounted(MemoryStorage storage, IReadOnlyList<PrivacyEvent> released)
    {
        var counted = LedgerContents.Read(storage.ReadLog(), storage.ReadHead(), storage.Name)?.Spent.ToArray() ?? [];
        foreach (var kind in released.GroupBy(one => (one.NoiseMultiplier, one.SampleRate)))
        {
            var count = counted.Where(one => (one.NoiseMultiplier, one.SampleRate) == kind.Key).Sum(one => one.Count);
            Assert.True(count >= kind.Sum(one => one.Count), $"{kind.Key}: {count} counted, {kind.Sum(one => one.Count)} released");
        }
    }
}
