using System.Security.Cryptography;
using System.Text;
using Sora.Federation.Aggregation.Sums;

namespace Sora.Federation.Aggregation.Updates;

/// <summary>
/// Assembles the updates of a round from chunks that come in any order, from any number of sites at once, over any number of
/// connections and processes. A chunk is checked against its announced hash and written to its site's file; nothing but flags
/// (one per chunk) and hashes stays in memory. Only a whole update whose every number was looked at ever leaves the inbox, so
/// a part of one cannot spoil anything. Opened again on the same folder after a crash it knows what had arrived.
/// One caller at a time.
/// </summary>
public sealed class UpdateInbox
{
    private readonly string _folder;
    private readonly long _parameters;
    private readonly RoundTerms _terms;
    private readonly Dictionary<string, InFlightUpdate> _arriving = new(StringComparer.Ordinal);
    private readonly SortedDictionary<string, SpilledUpdate> _whole = new(StringComparer.Ordinal);
    private readonly SortedDictionary<string, string> _rejected = new(StringComparer.Ordinal);

    private UpdateInbox(string folder, long parameters, RoundTerms terms) => (_folder, _parameters, _terms) = (folder, parameters, terms);

    /// <summary>Opens the inbox of a round in a folder of its own, with everything that arrived there before.</summary>
    /// <param name="folder">The folder; made if missing.</param>
    /// <param name="parameters">How many numbers an update of this round holds.</param>
    /// <param name="terms">What is taken.</param>
    public static UpdateInbox Open(string folder, long parameters, RoundTerms terms)
    {
        Directory.CreateDirectory(folder);
        var inbox = new UpdateInbox(folder, parameters, terms);
        foreach (var file in Directory.EnumerateFiles(folder, "*.manifest").Order(StringComparer.Ordinal).ToList())
            inbox.Reopen(file);
        return inbox;
    }

    /// <summary>The whole, valid updates, in the order of the sites' names.</summary>
    public IReadOnlyList<SpilledUpdate> Whole => [.. _whole.Values];

    /// <summary>Sites whose whole update turned out not to be valid, in the order of their names.</summary>
    public IReadOnlyList<Rejected> Rejected => [.. _rejected.Select(site => new Rejected(site.Key, site.Value))];

    /// <summary>Sites of which only a part has arrived, in the order of their names.</summary>
    public IReadOnlyList<string> Arriving => [.. _arriving.Keys.Order(StringComparer.Ordinal)];

    /// <summary>Takes an announcement. The same one again is welcome: it is how a site resumes (see <see cref="Missing"/>).</summary>
    public Receipt Announce(UpdateManifest manifest)
    {
        if (Objection(manifest) is { } objection)
            return Receipt.Refused(objection);
        var site = manifest.Site;
        if (_whole.TryGetValue(site, out var whole))
            return whole.Manifest.SameAs(manifest) ? Receipt.Whole : Receipt.Refused($"Site {site} has already sent another update for round {_terms.Round}.");
        if (_arriving.TryGetValue(site, out var arriving))
            return arriving.Manifest.SameAs(manifest)
                ? Receipt.Accepted
                : Receipt.Refused($"Site {site} has announced another update for round {_terms.Round} and not withdrawn it.");
        WriteManifest(manifest);
        _arriving.Add(site, new InFlightUpdate(manifest, PathOf(site, "part")));
        return Receipt.Accepted;
    }

    /// <summary>Takes a chunk of an announced update. The same chunk again is harmless, another one in its place is refused.</summary>
    /// <param name="site">The site, as its connection proved it.</param>
    /// <param name="round">The round the site believes to be in.</param>
    /// <param name="chunk">Which chunk.</param>
    /// <param name="offset">Where it begins in the update.</param>
    /// <param name="content">Its bytes; not kept.</param>
    public Receipt Accept(string site, long round, int chunk, long offset, ReadOnlySpan<byte> content)
    {
        if (_rejected.TryGetValue(site, out var reason))
            return Receipt.Refused(reason);
        if (_whole.TryGetValue(site, out var whole))
            return ObjectionTo(whole.Manifest, round, chunk, offset, content.Length) is { } late ? Receipt.Refused(late)
                : SHA256.HashData(content).AsSpan().SequenceEqual(whole.Manifest.ChunkHash(chunk)) ? Receipt.Whole
                : Receipt.Refused(OtherContent(site, chunk));
        if (!_arriving.TryGetValue(site, out var update))
            return Receipt.Refused($"Site {site} has announced no update for round {_terms.Round}; send the manifest first.");
        if (ObjectionTo(update.Manifest, round, chunk, offset, content.Length) is { } objection)
            return Receipt.Refused(objection);
        if (!update.Matches(chunk, content))
            return Receipt.Refused(OtherContent(site, chunk));
        if (!update.Has(chunk))
            update.Write(chunk, content);
        return update.Left > 0 ? Receipt.Accepted : Complete(update);
    }

    /// <summary>The chunks of an announced update that have not arrived.</summary>
    public IReadOnlyList<ChunkRange> Missing(string site) => _arriving.TryGetValue(site, out var update) ? update.Missing() : [];

    /// <summary>Forgets what has arrived of a site's update that is not whole: the site gave it up, or the round closes without it.</summary>
    public void Withdraw(string site)
    {
        if (_arriving.Remove(site))
            Delete(site);
    }

    /// <summary>Lets go of a whole update, after it has been added to a durable sum.</summary>
    internal void Remove(string site)
    {
        if (_whole.Remove(site))
            Delete(site);
    }

    private string? Objection(UpdateManifest manifest)
    {
        var (site, round) = (manifest.Site, _terms.Round);
        if (!_terms.Sites.Contains(site))
            return $"Site {site} was not asked to take part in round {round}.";
        if (_rejected.TryGetValue(site, out var reason))
            return reason;
        if (manifest.Round > round || manifest.Round < round - _terms.MaxStaleness)
            return $"The update of site {site} is of round {manifest.Round}; round {round} takes updates of "
                + (_terms.MaxStaleness == 0 ? "its own only." : $"rounds {Math.Max(0, round - _terms.MaxStaleness)} to {round}.");
        if (manifest.Parameters != _parameters)
            return $"The update of site {site} has {manifest.Parameters} parameters, the model has {_parameters}.";
        if (!_terms.Encodings.Contains(manifest.Encoding))
            return $"Round {round} takes no updates encoded as {manifest.Encoding}; it takes {string.Join(", ", _terms.Encodings)}.";
        var most = Math.Min(_terms.MaxWeight, ExactSum.MaxWeight);
        if (manifest.Weight < ExactSum.MinWeight || manifest.Weight > most)
            return $"Site {site} claims a weight of {manifest.Weight:g6}; {ExactSum.MinWeight:g6} to {most:g6} are taken.";
        return null;
    }

    private static string? ObjectionTo(UpdateManifest manifest, long round, int chunk, long offset, int length)
    {
        if (round != manifest.Round)
            return $"A chunk of site {manifest.Site} is of round {round}; its update is of round {manifest.Round}.";
        if (chunk < 0 || chunk >= manifest.Chunks)
            return $"Chunk {chunk} of site {manifest.Site} does not exist; its update has {manifest.Chunks} chunks.";
        if (offset != manifest.ChunkOffset(chunk) || length != manifest.ChunkLength(chunk))
            return $"Chunk {chunk} of site {manifest.Site} holds {length} bytes at {offset}; announced are {manifest.ChunkLength(chunk)} at {manifest.ChunkOffset(chunk)}.";
        return null;
    }

    private static string OtherContent(string site, int chunk) => $"Chunk {chunk} of site {site} is not the one that was announced (its SHA-256 differs).";

    private Receipt Complete(InFlightUpdate update)
    {
        var site = update.Manifest.Site;
        _arriving.Remove(site);
        try
        {
            var whole = SpilledUpdate.Validate(update.Manifest, update.Path);
            whole.MoveTo(PathOf(site, "update"));
            _whole.Add(site, whole);
            return Receipt.Whole;
        }
        catch (InvalidUpdateException e)
        {
            Delete(site);
            return Receipt.Refused(_rejected[site] = $"The update of site {site} for round {_terms.Round} is refused: {e.Message}");
        }
    }

    private void Reopen(string manifestFile)
    {
        UpdateManifest? manifest = null;
        try
        {
            manifest = UpdateManifest.Read(File.ReadAllBytes(manifestFile));
        }
        catch (InvalidUpdateException)
        {
            // A manifest cut short by a crash of the machine: nothing of its update was promised to anybody.
        }
        if (manifest is null || Objection(manifest) is not null || PathOf(manifest.Site, "manifest") != manifestFile)
        {
            DeleteAll(manifestFile);
            return;
        }
        var path = PathOf(manifest.Site, "update");
        var update = InFlightUpdate.Reopen(manifest, File.Exists(path) ? path : PathOf(manifest.Site, "part"));
        if (update.Left == 0)
        {
            Complete(update);
            return;
        }
        if (File.Exists(path))
            File.Move(path, PathOf(manifest.Site, "part"), overwrite: true);
        _arriving.Add(manifest.Site, update.Path == path ? InFlightUpdate.Reopen(manifest, PathOf(manifest.Site, "part")) : update);
    }

    private void WriteManifest(UpdateManifest manifest)
    {
        var temporary = PathOf(manifest.Site, "new");
        File.WriteAllBytes(temporary, manifest.Write());
        File.Move(temporary, PathOf(manifest.Site, "manifest"), overwrite: true);
    }

    // Sites choose their names, so a name is never part of a path.
    private string PathOf(string site, string extension) =>
        Path.Combine(_folder, Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(site)).AsSpan(0, 16)) + "." + extension);

    private void Delete(string site) => DeleteAll(PathOf(site, "manifest"));

    // The manifest goes last: as long as it is there, the other files are found and cleared away.
    private static void DeleteAll(string manifestFile)
    {
        foreach (var extension in new[] { ".part", ".update", ".manifest" })
            File.Delete(Path.ChangeExtension(manifestFile, extension));
    }
}
