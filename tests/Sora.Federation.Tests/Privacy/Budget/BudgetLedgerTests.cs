using System.Text;
using CsCheck;
using Sora.Federation.Privacy;
using Sora.Protocol.Jobs;

namespace Sora.Federation.Tests.Privacy.Budget;

public sealed class BudgetLedgerTests : IDisposable
{
    private static readonly PrivacyBudget Budget = new("clinic-3/notes", 8, 1e-5);
    private static readonly PrivacyEvent Round = new(4, 1, 1);

    private readonly string _folder = Directory.CreateTempSubdirectory("sora-ledger-").FullName;

    private string File => Path.Combine(_folder, "site", "budget.ledger");

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Fact]
    public void Rounds_are_granted_until_the_budget_is_spent_and_as_many_as_were_forecast()
    {
        using var ledger = BudgetLedger.Create(File, Budget, TimeProvider.System);
        var forecast = ledger.Forecast(Round);
        var granted = 0;
        var refusal = Assert.Throws<BudgetExhaustedException>((Action)UntilRefused);

        Assert.Equal(forecast, granted);
        Assert.Equal(0, ledger.Forecast(Round));
        Assert.InRange(ledger.SpentEpsilon, 7, 8);
        Assert.InRange(new PrivacyLossAccountant().Epsilon([Round with { Count = granted + 1 }], 1e-5), 8, 9);
        Assert.Contains($"round {granted + 1}: epsilon would be", refusal.Message);
        Assert.Contains("clinic-3/notes", refusal.Message);

        void UntilRefused()
        {
            for (; ; granted++) ledger.Settle(ledger.Reserve($"round {granted + 1}", Round).Id, 1);
        }
    }

    [Fact]
    public void What_is_spent_is_composed_and_not_added_up()
    {
        using var ledger = BudgetLedger.Create(File, Budget, TimeProvider.System);
        for (var round = 0; round < 10; round++) ledger.Reserve("round", Round);
        var one = new PrivacyLossAccountant().Epsilon([Round], 1e-5);
        Assert.True(ledger.SpentEpsilon < 0.6 * 10 * one);
        Assert.Equal(new PrivacyLossAccountant().Epsilon([Round with { Count = 10 }], 1e-5), ledger.SpentEpsilon, 1e-9);
    }

    [Fact]
    public void A_refused_reservation_leaves_no_trace_and_a_smaller_one_may_still_fit()
    {
        using var ledger = BudgetLedger.Create(File, Budget, TimeProvider.System);
        ledger.Reserve("round 1", Round);
        var before = ledger.Head;
        Assert.Throws<BudgetExhaustedException>(() => ledger.Reserve("round 2", Round with { NoiseMultiplier = 0.3 }));
        Assert.Equal(before, ledger.Head);
        ledger.Reserve("round 2", Round);
    }

    [Fact]
    public void What_is_not_settled_stays_spent_after_the_process_ended()
    {
        using (var ledger = BudgetLedger.Create(File, Budget, TimeProvider.System))
        {
            ledger.Settle(ledger.Reserve("round 1", Round).Id, 1);
            ledger.Settle(ledger.Reserve("round 2, called off before anything was sent", Round).Id, 0);
            ledger.Reserve("round 3", Round);
        }
        using var again = BudgetLedger.Open(File, Budget, TimeProvider.System);
        Assert.Equal(new PrivacyLossAccountant().Epsilon([Round with { Count = 2 }], 1e-5), again.SpentEpsilon, 1e-9);
        Assert.Equal((3L, 1L), (BudgetLedger.Read(File).Reservations, BudgetLedger.Read(File).Unsettled));
    }

    [Fact]
    public void A_second_process_is_kept_out_but_may_look()
    {
        using (BudgetLedger.Create(File, Budget, TimeProvider.System))
        {
            Assert.Contains("in use", Assert.Throws<SoraException>(() => BudgetLedger.Open(File, Budget, TimeProvider.System)).Message);
            Assert.Equal(Budget, BudgetLedger.Read(File).Budget);
        }
        BudgetLedger.Open(File, Budget, TimeProvider.System).Dispose();
    }

    [Fact]
    public void A_budget_is_neither_begun_twice_nor_changed_nor_made_up()
    {
        Assert.Throws<SoraException>(() => BudgetLedger.Open(File, Budget, TimeProvider.System));
        BudgetLedger.Create(File, Budget, TimeProvider.System).Dispose();
        Assert.Throws<SoraException>(() => BudgetLedger.Create(File, Budget, TimeProvider.System));
        Assert.Contains("begun with", Assert.Throws<SoraException>(() => BudgetLedger.Open(File, Budget with { Epsilon = 9 }, TimeProvider.System)).Message);
        Assert.Throws<SoraException>(() => BudgetLedger.Create(File + "2", Budget with { Epsilon = 0 }, TimeProvider.System));
        Assert.Throws<SoraException>(() => BudgetLedger.Create(File + "2", Budget with { Accountant = "guess" }, TimeProvider.System));
    }

    [Fact]
    public void A_reservation_is_settled_once_and_not_above_itself()
    {
        using var ledger = BudgetLedger.Create(File, Budget, TimeProvider.System);
        var reservation = ledger.Reserve("round 1", Round with { Count = 2 });
        Assert.Throws<SoraException>(() => ledger.Settle(reservation.Id, 3));
        Assert.Throws<SoraException>(() => ledger.Settle(0, 1));
        ledger.Settle(reservation.Id, 1);
        Assert.Throws<SoraException>(() => ledger.Settle(reservation.Id, 1));
    }

    [Fact]
    public void The_job_and_the_site_grant_together_or_not_at_all()
    {
        using var job = BudgetLedger.Create(File, Budget, TimeProvider.System);
        using var site = BudgetLedger.Create(File + ".site", Budget with { Scope = "clinic-3", Epsilon = 1.2 }, TimeProvider.System);
        Assert.Equal(2, BudgetLedger.ReserveAll([job, site], "round 1", Round).Count);
        var spent = job.SpentEpsilon;
        Assert.Throws<BudgetExhaustedException>(() => BudgetLedger.ReserveAll([job, site], "round 2", Round));
        Assert.Equal(spent, job.SpentEpsilon);
    }

    [Fact]
    public void Any_changed_removed_moved_or_cut_off_line_is_found()
    {
        var storage = new MemoryStorage();
        using (var ledger = BudgetLedger.Create(storage, Budget with { Accountant = "rdp" }, TimeProvider.System))
        {
            for (var round = 0; round < 4; round++) ledger.Settle(ledger.Reserve($"round {round}", Round).Id, 1);
        }
        var text = Encoding.UTF8.GetString([.. storage.Log]);
        var lines = text.TrimEnd('\n').Split('\n');
        Assert.Equal(9, lines.Length);
        Refused(text.Replace("\"count\":1,\"purpose\":\"round 2\"", "\"count\":0,\"purpose\":\"round 2\""));
        Refused(text.Replace("clinic-3", "clinic-4"));
        for (var i = 0; i < lines.Length; i++)
        {
            Refused(Joined(lines.Where((_, at) => at != i)));
            if (i > 0) Refused(Joined([.. lines[..(i - 1)], lines[i], lines[i - 1], .. lines[(i + 1)..]]));
            if (i > 0) Refused(Joined(lines[..i]));
        }
        Refused("");
        Refused(text[..^1]);

        void Refused(string changed)
        {
            Assert.NotEqual(text, changed);
            var error = Assert.Throws<SoraException>(() => BudgetLedger.Open(Copy(Encoding.UTF8.GetBytes(changed)), Budget with { Accountant = "rdp" }, TimeProvider.System));
            Assert.Contains("is damaged", error.Message);
        }

        static string Joined(IEnumerable<string> some) => string.Concat(some.Select(line => line + "\n"));

        MemoryStorage Copy(byte[] log) => new() { Log = [.. log], Head = storage.Head };
    }

    [Fact]
    public void Any_flipped_bit_is_found()
    {
        var storage = new MemoryStorage();
        using (var ledger = BudgetLedger.Create(storage, Budget, TimeProvider.System))
        {
            for (var round = 0; round < 3; round++) ledger.Reserve($"round {round}", Round);
        }
        Gen.Int[0, 8 * storage.Log.Count - 1].Sample(bit =>
        {
            var log = storage.ReadLog();
            log[bit / 8] ^= (byte)(1 << (bit % 8));
            Assert.Throws<SoraException>(() => LedgerContents.Read(log, storage.Head, "x"));
        });
    }

    [Fact]
    public void After_a_failed_write_nothing_more_is_granted()
    {
        var storage = new MemoryStorage();
        using var ledger = BudgetLedger.Create(storage, Budget, TimeProvider.System);
        storage.BytesUntilPowerFails = 30;
        Assert.Throws<IOException>(() => ledger.Reserve("round 1", Round));
        storage.BytesUntilPowerFails = int.MaxValue;
        Assert.Contains("opened anew", Assert.Throws<SoraException>(() => ledger.Reserve("round 1", Round)).Message);
    }

    [Fact]
    public void A_ledger_without_its_head_is_refused()
    {
        using (var ledger = BudgetLedger.Create(File, Budget, TimeProvider.System)) ledger.Reserve("round 1", Round);
        System.IO.File.Delete(File + ".head");
        Assert.Contains("head", Assert.Throws<SoraException>(() => BudgetLedger.Open(File, Budget, TimeProvider.System)).Message);
    }

    [Fact]
    public void The_forecast_of_sampled_rounds_is_the_most_that_fits()
    {
        using var ledger = BudgetLedger.Create(File, Budget with { Epsilon = 3 }, TimeProvider.System);
        ledger.Reserve("rounds 1 to 10", new(1.5, 0.1, 10));
        var more = ledger.Forecast(new(2, 0.05, 1));
        var accountant = new PrivacyLossAccountant();
        Assert.True(accountant.Epsilon([new(1.5, 0.1, 10), new(2, 0.05, more)], 1e-5) <= 3);
        Assert.True(accountant.Epsilon([new(1.5, 0.1, 10), new(2, 0.05, more + 1)], 1e-5) > 3);
        Assert.Equal(1_000_000, ledger.Forecast(new(1e5, 1, 1)));
    }
}
