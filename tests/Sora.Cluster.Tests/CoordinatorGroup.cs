namespace Sora.Cluster.Tests;

/// <summary>Coordinators, each a process: one with a journal of its own, or a cluster that shares one in PostgreSQL.</summary>
internal sealed class CoordinatorGroup : IDisposable
{
    /// <summary>Log line of the one that has the run: the run goes from one phase to another.</summary>
    public const int PhaseChanges = 1000;

    /// <summary>Log line: a run comes back from the journal.</summary>
    private const int Recovered = 1001;

    /// <summary>Log line: it has joined the others.</summary>
    private const int Member = 1301;

    private static readonly string[] Ownership = [$"[{PhaseChanges}]", $"[{Recovered}]"];

    private readonly List<SoraProcess> _processes = [];
    private readonly List<string[]> _commands = [];
    private readonly string? _journal;

    private CoordinatorGroup(string folder, string? journal, int count)
    {
        (_journal, TokenFile) = (journal, Path.Combine(folder, "cluster-token"));
        File.WriteAllText(TokenFile, Guid.NewGuid().ToString("N"));
        string[] seeds = [.. Enumerable.Range(0, count).Select(_ => $"127.0.0.1:{Ports.Free()}")];
        foreach (var seed in seeds)
        {
            var address = $"http://127.0.0.1:{Ports.Free()}";
            Addresses.Add(address);
            string[] cluster = journal is null ? [] : ["--cluster-listen", seed, "--seeds", string.Join(',', seeds)];
            _commands.Add(["coordinator", "start", "--state", Path.Combine(folder, $"state-{seed[10..]}"), "--listen", address, "--token-file", TokenFile, "--log-level", "debug", "--json", .. cluster]);
        }
    }

    /// <summary>Where they listen.</summary>
    public List<string> Addresses { get; } = [];

    public string TokenFile { get; }

    public SoraProcess this[int index] => _processes[index];

    private static CancellationToken Deadline => TestContext.Current.CancellationToken;

    public static async Task<CoordinatorGroup> StartAsync(string folder, string? journal = null, int count = 1)
    {
        var group = new CoordinatorGroup(folder, journal, count);
        for (var index = 0; index < count; index++)
            group._processes.Add(group.Launch(index));
        for (var index = 0; index < count; index++)
            await group.IsThereAsync(index);
        return group;
    }

    /// <summary>How somebody reaches them who tries this one first.</summary>
    public string[] From(int first) =>
        ["--coordinator", string.Join(',', Enumerable.Range(first, Addresses.Count).Select(index => Addresses[index % Addresses.Count])), "--token-file", TokenFile];

    /// <summary>The one that decides about the run: the last that said something of it.</summary>
    public int Owner() => Enumerable.Range(0, _processes.Count).MaxBy(LastWord, StringComparer.Ordinal);

    /// <summary>Starts one again that was killed, and waits until it can be dialled and, of a cluster, is a member again.</summary>
    public Task StartAgainAsync(int index)
    {
        _processes[index].Dispose();
        _processes[index] = Launch(index);
        return IsThereAsync(index);
    }

    /// <summary>Waits until another than this one has taken the run up.</summary>
    public async Task<int> TakenOverAsync(int from)
    {
        var others = Enumerable.Range(0, _processes.Count).Where(index => index != from).ToList();
        var first = await Task.WhenAny(others.Select(async index =>
        {
            await _processes[index].LogAsync(Recovered);
            return index;
        }));
        return await first;
    }

    public void Dispose()
    {
        foreach (var process in _processes)
            process.Dispose();
    }

    private SoraProcess Launch(int index) => SoraProcess.Start(_commands[index], _journal is null ? null : new Dictionary<string, string> { ["SORA_JOURNAL"] = _journal });

    private async Task IsThereAsync(int index)
    {
        await _processes[index].EventAsync("listening", _ => true, Deadline);
        // Two of three must be members for a run to be taken over.
        if (_journal is not null)
            await _processes[index].LogAsync(Member);
    }

    // Lines begin with the time of day.
    private string LastWord(int index) => _processes[index].Log.LastOrDefault(line => Ownership.Any(number => line.Contains(number, StringComparison.Ordinal))) ?? "";
}
