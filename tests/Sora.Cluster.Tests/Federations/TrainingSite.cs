using Microsoft.Extensions.Logging.Abstractions;
using Sora.Federation.Audit;
using Sora.Federation.Identity;
using Sora.Federation.Policies;
using Sora.Federation.Rounds;
using Sora.Worker.Session;
using Sora.Worker.Sites;
using Sora.Worker.Work;

namespace Sora.Cluster.Tests.Federations;

/// <summary>A site as its process runs it, with a formula in place of a network: killed and started again as often as a test wants.</summary>
internal sealed class TrainingSite : ILocalTrainingSource, ILocalTraining
{
    private readonly string _folder;
    private readonly string _name;
    private readonly Uri _coordinator;
    private readonly IdentityKey _key = IdentityKey.Create();
    private (SiteSession Session, Task<int> Running)? _life;

    public TrainingSite(string folder, string name, string coordinator, string fingerprint, string admissions)
    {
        (_folder, _name, _coordinator) = (Path.Combine(folder, name), name, new Uri(coordinator));
        Directory.CreateDirectory(_folder);
        AdmissionFile.Change(admissions, list => list.Register(new NamedPublicKey(name, _key.Public), DateTimeOffset.UtcNow, "test"));
        File.WriteAllText(PolicyFile, $$"""
            jobs: [formula]
            coordinators: ["{{fingerprint}}"]
            data_sets: [numbers]
            messages: [join, leave, heartbeat, refusal, update, metrics]
            privacy: {required: false, require_clipping: false}
            updates: {adapters_only: false, max_rounds: 100}
            secure_aggregation: {required: false}
            metrics: {allowed: [loss], max_digits: 3, min_examples: 10}
            """);
    }

    /// <summary>Happens before each training.</summary>
    public Action<RoundKey> BeforeTraining { get; set; } = _ => { };

    public int Trainings { get; private set; }

    public long Examples => 10 * _name[^1];

    public long HeldOutExamples => 20;

    private string PolicyFile => Path.Combine(_folder, "policy.yaml");

    /// <summary>What a site makes of a model: something of its own that depends on every parameter and on the round.</summary>
    public static float[] Train(string site, int round, ReadOnlySpan<float> model)
    {
        var update = new float[model.Length];
        for (var i = 0; i < update.Length; i++)
            update[i] = (float)(0.1 * (site[^1] - 'a' + 1) * Math.Cos(i * round) - 0.01 * model[i]);
        return update;
    }

    /// <summary>Runs the site to the end of the run, whatever kills it.</summary>
    public async Task<int> RunAsync()
    {
        while (true)
        {
            var code = await LiveAsync();
            if (code != -1)
                return code;
        }
    }

    /// <summary>Ends the site at once; <see cref="RunAsync"/> starts it again.</summary>
    public void Kill() => _life!.Value.Session.Abandon("killed");

    public LocalPlan Plan(SiteAssignment assignment, IReadOnlyList<SiteDataSet> data) => new(data, UpdateContent.Full);

    public ILocalTraining Open(SiteAssignment assignment, LocalPlan plan) => this;

    public LocalUpdate Train(RoundAnnounced round, ReadOnlySpan<float> parameters, FederationSettings settings, CancellationToken cancellationToken)
    {
        Trainings++;
        BeforeTraining(round.Round);
        cancellationToken.ThrowIfCancellationRequested();
        return new LocalUpdate(Train(_name, round.Round.Round, parameters), Examples, 1.0 / round.Round.Round);
    }

    public LocalEvaluation Evaluate(ReadOnlySpan<float> parameters, CancellationToken cancellationToken) => new(0.5, HeldOutExamples);

    public void Dispose()
    {
    }

    /// <returns>The exit code; -1: it was killed.</returns>
    private async Task<int> LiveAsync()
    {
        var options = new SiteOptions
        {
            Coordinators = [_coordinator],
            PolicyFile = PolicyFile,
            IdentityFile = "",
            StateDir = Path.Combine(_folder, "state"),
            Data = [new SiteDataSet("numbers", "")],
        };
        using var audit = AuditLog.Open(Path.Combine(options.StateDir, "audit.jsonl"), _name, TimeProvider.System, _key);
        using var dialer = new CoordinatorDialer(options.Coordinators, null, options.ConnectTimeout, options.Time);
        using var thread = new TrainingThread();
        var session = new SiteSession(dialer, options, new PolicySource(PolicyFile), _key, audit, this, thread, NullLogger.Instance);
        _life = (session, session.RunAsync());
        return await _life.Value.Running is var code && session.WasAbandoned ? -1 : code;
    }
}
