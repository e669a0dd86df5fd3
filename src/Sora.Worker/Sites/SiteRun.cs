using System.Text.Json;
using Sora.Federation.Rounds;
using Sora.Federation.Wire;
using Sora.Protocol.Api;
using Sora.Protocol.Jobs;
using Sora.Worker.Session;

namespace Sora.Worker.Sites;

/// <summary>
/// One run at this site: the terms it was let in under, which never change for as long as the site knows the run, and the files that are kept
/// of it in STATE/runs/RUN.
/// </summary>
internal sealed class SiteRun : IDisposable
{
    private const string TermsFile = "run.json";
    private const string JournalFile = "journal";

    private readonly string _state;

    private SiteRun(string state, SiteAssignment assignment, ISiteJournal journal, SitePrivacy privacy) =>
        (_state, Assignment, Journal, Privacy) = (state, assignment, journal, privacy);

    private sealed record Terms(string Site, string Job, string JobJson, byte[] FederatedRun);

    public SiteAssignment Assignment { get; }

    public ISiteJournal Journal { get; }

    public SitePrivacy Privacy { get; }

    public string Name => Assignment.Run.Run;

    public string Job => Assignment.Job.Name;

    /// <summary>Where global models are kept.</summary>
    public string Models => Path.Combine(FolderOf(_state, Name), "models");

    /// <summary>Where updates are kept.</summary>
    public string Updates => Path.Combine(FolderOf(_state, Name), "updates");

    /// <summary>The state machine as the journal left it.</summary>
    public RoundSiteState Restored => Journal.Records.OfType<SiteDecided>().Aggregate(
        new RoundSiteState(Name, Assignment.Site), (state, decided) => RoundSite.Apply(state, decided.Decision));

    /// <summary>Reads what a coordinator that has proved itself says of a run.</summary>
    /// <exception cref="SoraException">It makes no sense.</exception>
    public static SiteAssignment Read(SiteAdmission admission)
    {
        var assignment = new SiteAssignment(FederatedRunFormat.Read(admission.FederatedRun.Memory), JobJson.Parse(admission.JobJson), admission.Site);
        if (assignment.Run.Run != admission.Run || !JobValidation.IsName(assignment.Site) || !JobValidation.IsName(assignment.Job.Name))
            throw new SoraException("The admission names its run, its job or this site by no proper name.", ExitCode.InvalidInput);
        return assignment;
    }

    /// <summary>Takes a run up, or goes on with it.</summary>
    /// <exception cref="SoraException">The site knows the run under other terms, or its files cannot be used.</exception>
    public static SiteRun Open(string state, SiteAssignment assignment, SiteAdmission admission, Func<string, ISiteJournal> openJournal, TimeProvider time)
    {
        var folder = FolderOf(state, assignment.Run.Run);
        var terms = new Terms(assignment.Site, assignment.Job.Name, admission.JobJson, admission.FederatedRun.ToByteArray());
        try
        {
            Directory.CreateDirectory(folder);
            var known = ReadTerms(folder);
            if (known is not null && (known.Site != terms.Site || known.JobJson != terms.JobJson || !known.FederatedRun.AsSpan().SequenceEqual(terms.FederatedRun)))
                throw ChangedTerms(assignment.Run.Run);
            var journal = openJournal(Path.Combine(folder, JournalFile));
            try
            {
                var privacy = SitePrivacy.Open(assignment, journal, Path.Combine(state, "privacy"), time, begun: known is not null);
                if (known is null)
                    WriteTerms(folder, terms);
                return new SiteRun(state, assignment, journal, privacy);
            }
            catch
            {
                journal.Dispose();
                throw;
            }
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new SoraException($"The run's folder {folder} cannot be used: {e.Message}", ExitCode.Failure, e);
        }
    }

    /// <summary>Whether an admission is to this run, under the terms the site knows.</summary>
    /// <exception cref="SoraException">It is under others.</exception>
    public void CheckTerms(SiteAdmission admission)
    {
        var known = ReadTerms(FolderOf(_state, Name));
        if (known is null || known.Site != admission.Site || known.JobJson != admission.JobJson || !known.FederatedRun.AsSpan().SequenceEqual(admission.FederatedRun.Span))
            throw ChangedTerms(Name);
    }

    /// <summary>The run the site was last at and has not left; empty: none.</summary>
    public static string Unfinished(string state) => Folders(state)
        .Where(folder => ReadTerms(folder) is not null && !RecordsOf(folder).OfType<RunLeft>().Any())
        .OrderByDescending(folder => File.GetLastWriteTimeUtc(Path.Combine(folder, JournalFile)))
        .Select(Path.GetFileName).FirstOrDefault() ?? "";

    /// <summary>How many updates of the run's job may have left this site, in all its runs, besides that of one attempt.</summary>
    public int UpdatesBesides(RoundKey round) =>
        UpdatesIn(Journal.Records).Count(ready => ready.Offer.Id.Round != round)
        + Folders(_state).Where(folder => Path.GetFileName(folder) != Name && ReadTerms(folder)?.Job == Job).Sum(folder => UpdatesIn(RecordsOf(folder)).Count());

    /// <summary>Removes what only a run that goes on needs: models and updates. Journal, terms and ledger stay, because they count.</summary>
    public void Clear()
    {
        foreach (var folder in new[] { Models, Updates }.Where(Directory.Exists))
            Directory.Delete(folder, recursive: true);
    }

    public void Dispose()
    {
        Privacy.Dispose();
        Journal.Dispose();
    }

    private static IEnumerable<UpdateReady> UpdatesIn(IEnumerable<SiteRecord> records) =>
        records.OfType<SiteDecided>().Select(decided => decided.Decision).OfType<UpdateReady>();

    private static string FolderOf(string state, string run) => Path.Combine(state, "runs", run);

    private static IEnumerable<string> Folders(string state) =>
        Path.Combine(state, "runs") is var runs && Directory.Exists(runs) ? Directory.EnumerateDirectories(runs) : [];

    private static IReadOnlyList<SiteRecord> RecordsOf(string folder) =>
        Path.Combine(folder, JournalFile) is var path && File.Exists(path) ? SiteJournal.ReadOnly(path) : [];

    private static Terms? ReadTerms(string folder)
    {
        var path = Path.Combine(folder, TermsFile);
        try
        {
            return File.Exists(path) ? JsonSerializer.Deserialize<Terms>(File.ReadAllBytes(path)) : null;
        }
        catch (JsonException e)
        {
            throw new SoraException($"{path} is damaged: {e.Message} Move the folder away if the run is over; its ledger in 'privacy' must stay.", ExitCode.InvalidInput, e);
        }
    }

    private static void WriteTerms(string folder, Terms terms)
    {
        var path = Path.Combine(folder, TermsFile);
        using (var file = new FileStream(path + ".new", FileMode.Create, FileAccess.Write))
        {
            JsonSerializer.Serialize(file, terms);
            file.Flush(flushToDisk: true);
        }
        File.Move(path + ".new", path, overwrite: true);
    }

    private static SoraException ChangedTerms(string run) => new(
        $"The coordinator describes run {run} otherwise than when this site joined it. A run's terms never change: this site takes no part. Ask the coordinator's operator, and submit the changed job as a new run.", ExitCode.InvalidInput);
}
