using System.Globalization;

namespace Sora.Model.Checkpoints;

/// <summary>
/// How the members of a generation find out which of them reach the same output folder: each leaves a mark there before its
/// first exchange, and after that exchange looks which are there. Those who see the first member's mark write checkpoints
/// together. Should they see different ones, a folder system being slow to show them, they get different keys and no checkpoint
/// comes of it, never a wrong one.
/// </summary>
public sealed class MemberMarks
{
    private const string Prefix = ".members.";

    private readonly string _parent;
    private readonly string _folder;
    private readonly string _key;
    private readonly int _rank;
    private readonly int _members;
    private readonly bool _placed;

    private MemberMarks(string parent, string folder, string key, int rank, int members, bool placed) =>
        (_parent, _folder, _key, _rank, _members, _placed) = (parent, folder, key, rank, members, placed);

    /// <summary>Leaves this member's mark.</summary>
    /// <param name="outputDir">The run's output folder. Only the first member makes it: on other machines it may be nobody's.</param>
    /// <param name="run">The run.</param>
    /// <param name="generation">The generation.</param>
    /// <param name="secret">What only members of the generation know.</param>
    /// <param name="rank">This member.</param>
    /// <param name="members">How many there are.</param>
    public static MemberMarks Place(string outputDir, string run, long generation, ReadOnlyMemory<byte> secret, int rank, int members)
    {
        var parent = CheckpointCatalog.FolderOf(outputDir);
        var key = SaveGroup.KeyOf(run, generation, Convert.ToHexStringLower(secret.Span), members);
        var folder = Path.Combine(parent, string.Create(CultureInfo.InvariantCulture, $"{Prefix}{SaveGroup.KeyOf(run)}.{generation:D8}.{key}"));
        var placed = false;
        try
        {
            if (rank == 0 || Directory.Exists(outputDir))
            {
                Directory.CreateDirectory(folder);
                File.WriteAllBytes(MarkOf(folder, rank), []);
                placed = true;
            }
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            // It writes no part then; the first member writes everything.
        }
        var marks = new MemberMarks(parent, folder, key, rank, members, placed);
        if (placed && rank == 0)
            marks.RemoveOlder();
        return marks;
    }

    /// <summary>Who writes, as this member sees it after an exchange; null: this member does not.</summary>
    public SaveGroup? Group()
    {
        if (!_placed)
            return _rank == 0 ? SaveGroup.Alone : null;
        var writers = Enumerable.Range(0, _members).Where(rank => rank == _rank || File.Exists(MarkOf(_folder, rank))).ToList();
        return writers[0] != 0 ? null
            : writers.Count == 1 ? SaveGroup.Alone
            : new SaveGroup(writers.IndexOf(_rank), writers.Count, SaveGroup.KeyOf([_key, .. writers]));
    }

    /// <summary>Takes this member's mark away.</summary>
    public void Remove()
    {
        if (!_placed)
            return;
        try
        {
            File.Delete(MarkOf(_folder, _rank));
            Directory.Delete(_folder);
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            // There are marks of others in it, or nothing any more; the first member of a later generation removes the folder.
        }
    }

    // Earlier generations are over; what a member of one that does not know so would lose is a checkpoint nobody needs.
    private void RemoveOlder()
    {
        var (own, run) = (Path.GetFileName(_folder), Path.GetFileName(_folder)[..(Path.GetFileName(_folder).IndexOf('.', Prefix.Length) + 1)]);
        try
        {
            foreach (var folder in Directory.GetDirectories(_parent, $"{Prefix}*"))
                if (Path.GetFileName(folder) is var name && (!name.StartsWith(run, StringComparison.Ordinal) || string.CompareOrdinal(name, own) < 0))
                    PartialFolder.TryRemove(folder, Disk.Real);
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            // Small and harmless; a later generation tries again.
        }
    }

    private static string MarkOf(string folder, int rank) => Path.Combine(folder, string.Create(CultureInfo.InvariantCulture, $"rank-{rank}"));
}
