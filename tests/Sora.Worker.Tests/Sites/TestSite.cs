using Microsoft.Extensions.Logging.Abstractions;
using Sora.Federation.Audit;
using Sora.Federation.Identity;
using Sora.Federation.Rounds;
using Sora.Protocol.Jobs;
using Sora.Worker.Session;
using Sora.Worker.Sites;
using Sora.Worker.Work;

namespace Sora.Worker.Tests.Sites;

/// <summary>A federated run as a coordinator describes it.</summary>
internal sealed record TestRun(FederatedRun Run, string JobJson)
{
    public const int Parameters = 1000;

    public static TestRun Of(FederationSettings? settings = null, string run = "fed-1", string job = "chest-1") => new(
        new FederatedRun(run, 7, new ModelVersion(0, new string('0', 64)), new ChunkLayout(Parameters, 256), settings ?? new FederationSettings()),
        JobJsonOf(job));

    public RoundAnnounced Round(ModelVersion model, int round = 1, int attempt = 1) =>
        new(Run.Run, new RoundKey(round, attempt), model, Run.Settings.LocalSteps, Run.Settings.LocalEpochs, TimeSpan.FromMinutes(1), Run.Chunks, Secure: false);

    private static string JobJsonOf(string name) => Sora.Protocol.Jobs.JobJson.Write(new TrainingJob { Name = name });
}

/// <summary>A site with its files in a folder of its own: started, killed and started again as often as a test wants.</summary>
internal sealed class TestSite : IAsyncDisposable
{
    public const string Name = "hospital-a";

    private readonly DirectoryInfo _folder = Directory.CreateTempSubdirectory("sora-site-");
    private readonly IReadOnlyList<FederationServer> _coordinators;
    private (SiteSession Session, Task<int> Running, TrainingThread Thread, AuditLog Audit)? _life;

    public TestSite(params FederationServer[] coordinators)
    {
        _coordinators = coordinators;
        Key = IdentityKey.Create();
        WritePolicy();
    }

    public IdentityKey Key { get; }

    public FakeTraining Training { get; } = new();

    public string State => Path.Combine(_folder.FullName, "state");

    public string AuditPath => Path.Combine(State, "audit.jsonl");

    public string PolicyPath => Path.Combine(_folder.FullName, "policy.yaml");

    /// <summary>What the session said when it ended.</summary>
    public LogLines Log { get; } = new();

    /// <summary>Makes journals; a test may have them die.</summary>
    public Func<string, ISiteJournal> OpenJournal { get; set; } = SiteJournal.Open;

    /// <summary>Writes a policy that permits plain rounds of jobs called chest-*, but for what is said otherwise.</summary>
    public void WritePolicy(string? messages = null, string? privacy = null, string more = "", string? coordinators = null) => File.WriteAllText(PolicyPath, $"""
        jobs: [chest-*]
        coordinators: [{coordinators ?? string.Join(", ", _coordinators.Select(server => $"\"{server.Key.Public.Fingerprint}\""))}]
        data_sets: [reports]
        messages: [{messages ?? "join, leave, heartbeat, refusal, update, metrics"}]
        privacy: {privacy ?? "{required: false, require_clipping: false}"}
        updates: {"{adapters_only: false, max_rounds: 100}"}
        secure_aggregation: {"{required: false}"}
        metrics: {(messages is null ? "{allowed: [loss], max_digits: 2, min_examples: 100}" : "{allowed: []}")}
        {more}
        """);

    public void Start()
    {
        var options = new SiteOptions
        {
            Coordinators = [.. _coordinators.Select(server => server.Address)],
            PolicyFile = PolicyPath,
            IdentityFile = "",
            StateDir = State,
            Data = [new SiteDataSet("reports", "/data/reports")],
            Random = new Random(1),
        };
        var audit = AuditLog.Open(AuditPath, Name, TimeProvider.System, Key);
        var thread = new TrainingThread();
        var dialer = new CoordinatorDialer(options.Coordinators, null, options.ConnectTimeout, options.Time);
        var session = new SiteSession(dialer, options, new PolicySource(PolicyPath), Key, audit, Training, thread, Log, OpenJournal);
        _life = (session, session.RunAsync(), thread, audit);
    }

    public void Drain() => _life!.Value.Session.Drain();

    /// <summary>Waits until the site ends by itself.</summary>
    public async Task<int> EndAsync()
    {
        var (_, running, thread, audit) = _life!.Value;
        var code = await running.WaitAsync(Patience.Token);
        thread.Dispose();
        audit.Dispose();
        _life = null;
        return code;
    }

    public async Task KillAsync()
    {
        _life!.Value.Session.Abandon("killed");
        await EndAsync();
    }

    public async Task RestartAsync()
    {
        if (_life is { Running.IsCompleted: true })
            await EndAsync();
        else
            await KillAsync();
        Start();
    }

    public async ValueTask DisposeAsync()
    {
        if (_life is not null)
            await KillAsync();
        Key.Dispose();
        _folder.Delete(recursive: true);
    }
}

/// <summary>Training without tensors: the update is a function of the model and of how often it was trained, so that a second one differs.</summary>
internal sealed class FakeTraining : ILocalTrainingSource, ILocalTraining
{
    public long Examples { get; set; } = 500;

    public long HeldOutExamples { get; set; } = 200;

    public double Loss { get; set; } = 2.34567;

    public int Trainings { get; private set; }

    public int Opened { get; private set; }

    /// <summary>Happens while it trains, on the training thread.</summary>
    public Action<CancellationToken> WhileTraining { get; set; } = _ => { };

    public LocalPlan Plan(SiteAssignment assignment, IReadOnlyList<SiteDataSet> data) => new(data, Sora.Federation.Policies.UpdateContent.Full);

    public ILocalTraining Open(SiteAssignment assignment, LocalPlan plan)
    {
        Opened++;
        return this;
    }

    public LocalUpdate Train(RoundAnnounced round, ReadOnlySpan<float> parameters, FederationSettings settings, CancellationToken cancellationToken)
    {
        Trainings++;
        WhileTraining(cancellationToken);
        var values = new float[parameters.Length];
        for (var i = 0; i < values.Length; i++)
            values[i] = parameters[i] * 0.5f + round.Round.Round + Trainings * 0.25f;
        return new LocalUpdate(values, Examples, Loss);
    }

    public LocalEvaluation Evaluate(ReadOnlySpan<float> parameters, CancellationToken cancellationToken) => new(parameters[0], HeldOutExamples);

    public void Dispose()
    {
    }
}
