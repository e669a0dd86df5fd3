using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Abstractions;
using Sora.Protocol.Blocks;
using Sora.Protocol.Generations;

namespace Sora.Coordinator;

/// <summary>How a coordinator runs.</summary>
public sealed record CoordinatorOptions
{
    /// <summary>Where workers dial: <c>http://address:port</c>, gRPC over plain HTTP/2; port 0 takes a free one.</summary>
    public string ListenUrl { get; init; } = "http://127.0.0.1:0";

    /// <summary>What workers must show; empty: a random one of 256 bits.</summary>
    public string Token { get; init; } = "";

    /// <summary>Folder of the journal, unless <see cref="JournalConnection"/> names a database.</summary>
    public required string StateDir { get; init; }

    /// <summary>Connection string of the PostgreSQL database that several coordinators share; empty: a file in <see cref="StateDir"/>.</summary>
    public string JournalConnection { get; init; } = "";

    /// <summary>
    /// Where the other coordinators of a cluster reach this one, <c>ADDRESS:PORT</c>; empty: it is alone. They trust each other:
    /// this port belongs into a private network.
    /// </summary>
    public string ClusterListen { get; init; } = "";

    /// <summary>What the others dial where that differs from <see cref="ClusterListen"/>, <c>NAME:PORT</c>: behind address translation, or when listening on all addresses.</summary>
    public string ClusterAdvertise { get; init; } = "";

    /// <summary>
    /// The coordinators a new one asks to be let in, as they are advertised, in the same order everywhere and this one among
    /// them. The first founds the cluster when none of the others answers; of three or more it takes a majority to begin.
    /// </summary>
    public IReadOnlyList<string> ClusterSeeds { get; init; } = [];

    /// <summary>How long the founder of a cluster waits for a majority of <see cref="ClusterSeeds"/> before it ends.</summary>
    public TimeSpan FoundingLimit { get; init; } = TimeSpan.FromSeconds(60);

    /// <summary>File of the sites that are let in to federated runs, as <c>sora site register</c> writes it; empty: <c>sites.json</c> in <see cref="StateDir"/>. Read again for each site that dials in.</summary>
    public string AdmissionsFile { get; init; } = "";

    /// <summary>File of the key that shows sites who this coordinator is; empty: <c>coordinator.key</c> in <see cref="StateDir"/>. Made when it is not there.</summary>
    public string IdentityFile { get; init; } = "";

    /// <summary>Where log lines go.</summary>
    public ILoggerFactory LoggerFactory { get; init; } = NullLoggerFactory.Instance;

    /// <summary>
    /// Runs outlive this process: those the journal knows as unfinished are taken up again, by this coordinator when it
    /// starts or by another one. False: the end of this process is the end of its runs, until they are submitted again.
    /// </summary>
    public bool RecoverRuns { get; init; } = true;

    /// <summary>
    /// Opens the corpus in a folder, given its hash, for the workers of a run that was not submitted through this process;
    /// null when it is not there.
    /// </summary>
    public Func<string, string, IPieceSource?>? OpenCorpus { get; init; }

    /// <summary>How long a run waits for its workers to dial in.</summary>
    public TimeSpan ArrivalLimit { get; init; } = TimeSpan.FromMinutes(2);

    /// <summary>How long the workers may take, once here, for the canary and to get ready.</summary>
    public TimeSpan ReadinessLimit { get; init; } = TimeSpan.FromMinutes(10);

    /// <summary>How long a worker whose stream broke has for dialling again.</summary>
    public TimeSpan AbsenceLimit { get; init; } = TimeSpan.FromSeconds(3);

    /// <summary>How long members that are told to stop at once may take to do so.</summary>
    public TimeSpan HaltLimit { get; init; } = TimeSpan.FromSeconds(60);

    /// <summary>How long a worker may take to write a checkpoint that was ordered.</summary>
    public TimeSpan SaveLimit { get; init; } = TimeSpan.FromMinutes(2);

    /// <summary>How long the members of a generation have for dialling a coordinator that was restarted, or took over.</summary>
    public TimeSpan ReturnLimit { get; init; } = TimeSpan.FromSeconds(15);

    /// <summary>The pause between generations that achieve nothing.</summary>
    public TimeSpan Backoff { get; init; } = TimeSpan.FromSeconds(1);

    /// <summary>How long a worker that cannot work with the others is left out.</summary>
    public TimeSpan Quarantine { get; init; } = TimeSpan.FromSeconds(30);

    /// <summary>A worker that says nothing for so long is lost; workers send a heartbeat every second.</summary>
    public TimeSpan WorkerSilenceLimit { get; init; } = TimeSpan.FromSeconds(6);

    /// <summary>
    /// How long a run that is over stays in memory: whoever watched it and lost its coordinator can come back so long to hear
    /// the last steps, which the journal does not have.
    /// </summary>
    public TimeSpan EndedRunMemory { get; init; } = TimeSpan.FromMinutes(1);

    /// <summary>How long a worker that asks for a corpus waits for this coordinator to hear of the run.</summary>
    internal TimeSpan CorpusPatience { get; init; } = TimeSpan.FromSeconds(15);

    internal TimeProvider Time { get; init; } = TimeProvider.System;

    internal string AdmissionsPath => AdmissionsFile.Length > 0 ? AdmissionsFile : Path.Combine(StateDir, "sites.json");

    internal string IdentityPath => IdentityFile.Length > 0 ? IdentityFile : Path.Combine(StateDir, "coordinator.key");

    internal string JournalPath => Path.Combine(StateDir, "journal.db");

    /// <summary>What messages to people call the journal.</summary>
    internal string JournalName => JournalConnection.Length == 0 ? JournalPath : "in PostgreSQL";

    internal TimeSpan Timeout(RunTimer timer) => timer switch
    {
        RunTimer.Arrival => ArrivalLimit,
        RunTimer.Readiness => ReadinessLimit,
        RunTimer.Absence => AbsenceLimit,
        RunTimer.Halt => HaltLimit,
        RunTimer.Save => SaveLimit,
        RunTimer.Return => ReturnLimit,
        RunTimer.Backoff => Backoff,
        RunTimer.Quarantine => Quarantine,
        _ => throw new ArgumentOutOfRangeException(nameof(timer), timer, null),
    };
}
