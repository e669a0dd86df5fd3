using System.Security.Cryptography;
using Sora.Federation.Policies;
using Sora.Federation.Privacy;
using Sora.Federation.Rounds;
using Sora.Protocol.Jobs;
using SiteState = Sora.Federation.Policies.SiteState;

namespace Sora.Worker.Sites;

/// <summary>
/// What a run costs this site's data, by the site's own count, and what protects it: clipping, and with local privacy the noise. A ledger a
/// run lies in PRIVACY/JOB/RUN.ledger; nothing is trained for release before the release is in it.
/// </summary>
internal sealed class SitePrivacy : IDisposable
{
    private const string LedgerName = "*.ledger";
    private const string Accountant = "prv";

    private readonly Lock _lock = new();
    private readonly SiteAssignment _assignment;
    private readonly DifferentialPrivacySettings? _settings;
    private readonly ISiteJournal _journal;
    private readonly string _folder;
    private readonly string _path;
    private readonly BudgetLedger? _ledger;
    private (RoundKey Round, long Reservation)? _reserved;

    private SitePrivacy(SiteAssignment assignment, ISiteJournal journal, string folder, BudgetLedger? ledger)
    {
        (_assignment, _settings, _journal, _folder, _ledger) = (assignment, assignment.Run.Settings.DifferentialPrivacy, journal, folder, ledger);
        _path = PathOf(folder, assignment);
        foreach (var record in journal.Records)
        {
            _reserved = record switch
            {
                ReleaseReserved reserved => (reserved.Round, reserved.Reservation),
                ReleaseReturned => null,
                SiteDecided { Decision: UpdateReady } => null,
                _ => _reserved,
            };
        }
    }

    /// <summary>Opens the run's ledger.</summary>
    /// <param name="assignment">The run.</param>
    /// <param name="journal">The run's journal.</param>
    /// <param name="folder">Where the ledgers of all runs are.</param>
    /// <param name="time">Clock.</param>
    /// <param name="begun">The site knew the run before, so that a ledger that is not there was lost.</param>
    public static SitePrivacy Open(SiteAssignment assignment, ISiteJournal journal, string folder, TimeProvider time, bool begun)
    {
        if (assignment.Run.Settings.DifferentialPrivacy is not { } settings)
            return new SitePrivacy(assignment, journal, folder, null);
        var budget = new PrivacyBudget($"{assignment.Site}/{assignment.Job.Name}/{assignment.Run.Run}", settings.TargetEpsilon, settings.Delta, Accountant);
        var path = PathOf(folder, assignment);
        var ledger = begun || File.Exists(path) ? BudgetLedger.Open(path, budget, time) : BudgetLedger.Create(path, budget, time);
        return new SitePrivacy(assignment, journal, folder, ledger);
    }

    /// <summary>What the site knows of the past.</summary>
    /// <param name="updatesBefore">Updates of the job that may have left before.</param>
    public SiteState Spent(int updatesBefore)
    {
        lock (_lock)
            return new SiteState((_ledger?.SpentEpsilon ?? 0) + OtherRunsOfJob(), OtherJobs(), updatesBefore);
    }

    /// <summary>What the job will have spent after the run's last round, if every round is carried out once.</summary>
    public double PlannedEpsilon() => _settings is null ? 0
        : PrivacyAccountant.Named(Accountant).Epsilon([Release(_assignment.Run.Settings.Rounds)], _settings.Delta) + OtherRunsOfJob();

    /// <summary>Spent so far, with its delta; null: the run promises no privacy.</summary>
    public (double Epsilon, double Delta)? SpentOnRun
    {
        get { lock (_lock) return _ledger is null ? null : (_ledger.SpentEpsilon, _settings!.Delta); }
    }

    /// <summary>Reserves the release of an attempt. An attempt that a crash cut short before its update was ready goes on with what it had.</summary>
    /// <exception cref="SoraException">It does not fit the budget, or cannot be recorded: the attempt must not begin.</exception>
    public void Reserve(RoundKey round)
    {
        lock (_lock)
        {
            if (_ledger is null || _reserved?.Round == round)
                return;
            // The ledger first: what a crash leaves between the two is spent too much, not too little.
            var reservation = _ledger.Reserve($"{_assignment.Run.Run}: {round}", Release(1));
            _journal.Append(new ReleaseReserved(round, reservation.Id));
            _reserved = (round, reservation.Id);
        }
    }

    /// <summary>Gives back what an attempt has reserved whose update certainly never leaves.</summary>
    public void Return(RoundKey round)
    {
        lock (_lock)
        {
            if (_ledger is null || _reserved is not { } reserved || reserved.Round != round)
                return;
            // The journal first: nobody may go on with a reservation that the ledger no longer holds.
            _reserved = null;
            _journal.Append(new ReleaseReturned(round));
            _ledger.Settle(reserved.Reservation, 0);
        }
    }

    /// <summary>The update of an attempt is ready: from now on it counts as released.</summary>
    public void Use(RoundKey round)
    {
        lock (_lock)
        {
            if (_ledger is null || _reserved is not { } reserved || reserved.Round != round)
                return;
            _reserved = null;
            _ledger.Settle(reserved.Reservation, 1);
        }
    }

    /// <summary>
    /// Clips an update and, with local privacy, adds the noise, in place; what is not finite is refused. All sites weigh the same then:
    /// no noise hides how many examples a site has.
    /// </summary>
    public LocalUpdate Protect(LocalUpdate update)
    {
        if (_settings is null)
            return update;
        UpdateClipping.Clip(update.Values, _settings.ClippingNorm);
        if (_settings.Model == PrivacyModel.Local)
            AddNoise(update.Values);
        return update with { Weight = 1 };
    }

    private void AddNoise(float[] update)
    {
        // One site's update is a sum of one: the same noise, before anything leaves.
        var noisy = new double[update.Length];
        for (var i = 0; i < noisy.Length; i++)
            noisy[i] = update[i];
        using var random = RandomNumberGenerator.Create();
        new CentralNoise(_settings!.NoiseMultiplier, _settings.ClippingNorm).AddTo(noisy, random);
        for (var i = 0; i < noisy.Length; i++)
            update[i] = (float)noisy[i];
    }

    public void Dispose() => _ledger?.Dispose();

    // Whoever asks knows who was in the round, so that being sampled protects nobody.
    private PrivacyEvent Release(long count) => new(_settings!.NoiseMultiplier, SampleRate: 1, count);

    // Ledgers of other runs are other files with deltas of their own, so their epsilons are added up: more than the truth, never less.
    private double OtherRunsOfJob() => Directory.Exists(Path.GetDirectoryName(_path)!)
        ? Directory.EnumerateFiles(Path.GetDirectoryName(_path)!, LedgerName).Where(path => path != _path).Sum(SpentIn)
        : 0;

    private double OtherJobs() => Directory.Exists(_folder)
        ? Directory.EnumerateFiles(_folder, LedgerName, SearchOption.AllDirectories).Where(path => Path.GetDirectoryName(path) != Path.GetDirectoryName(_path)).Sum(SpentIn)
        : 0;

    private static double SpentIn(string path) => BudgetLedger.Read(path).SpentEpsilon;

    private static string PathOf(string folder, SiteAssignment assignment) =>
        Path.GetFullPath(Path.Combine(folder, assignment.Job.Name, assignment.Run.Run + ".ledger"));
}
