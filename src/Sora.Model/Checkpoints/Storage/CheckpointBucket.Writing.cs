using System.Globalization;
using System.Text.RegularExpressions;
using Amazon.S3.Model;
using Sora.Protocol.Jobs;

namespace Sora.Model.Checkpoints.Storage;

// Putting checkpoints here, by one worker or by several, and removing them.
public sealed partial class CheckpointBucket
{
    private ObjectUpload Objects => new(_client, _partSize);

    /// <summary>Copies a checkpoint here and removes the oldest ones above the limit. Again is harmless.</summary>
    /// <param name="folder">A whole checkpoint.</param>
    /// <param name="saveTotalLimit">Checkpoints to keep; 0: all.</param>
    /// <returns>The checkpoint, and those that several workers began to write and that will never be completed; to be shown.</returns>
    /// <exception cref="CheckpointWriteException">It cannot be written; what was uploaded so far is no checkpoint.</exception>
    public ShareOutcome Upload(string folder, int saveTotalLimit)
    {
        var manifest = CheckpointManifest.Read(folder);
        return Writing(manifest.Step, $"lies in {folder} but not in {Location}", () =>
        {
            if (IsThere(manifest.Step, standing => standing.Checksum == manifest.Checksum))
                return new ShareOutcome(new CheckpointInfo(Location.Checkpoint(manifest.Step).ToString(), manifest.Step, manifest.WeightsSha256), []);
            Send(folder, manifest);
            var saved = Publish(manifest);
            Prune(saveTotalLimit, manifest.Step);
            return new ShareOutcome(saved, GiveUp(manifest.Step, keepNewest: true));
        });
    }

    /// <summary>
    /// Copies one writer's files here, then says in an object of their own what they are, and makes it a checkpoint if all writers have done so.
    /// Two may find that at once: they put the same manifest.
    /// </summary>
    /// <param name="folder">Where the files lie.</param>
    /// <param name="part">The manifest, as far as this writer answers for it.</param>
    /// <param name="group">Who writes.</param>
    /// <param name="saveTotalLimit">Checkpoints to keep; 0: all.</param>
    /// <exception cref="CheckpointWriteException">It cannot be written; there will be no checkpoint of this step.</exception>
    internal ShareOutcome UploadShare(string folder, CheckpointManifest part, SaveGroup group, int saveTotalLimit)
    {
        var lacks = group.KeepsWhole ? $"lies in {folder} but not in {Location}" : $"is not in {Location}, because its part {group.Index + 1} of {group.Count} is not";
        return Writing(part.Step, lacks, () =>
        {
            if (!IsThere(part.Step, standing => (standing.JobSha256, standing.CorpusSha256) == (part.JobSha256, part.CorpusSha256) && part.Files.All(standing.Files.Contains)))
                Send(folder, part);
            Put(Location.Checkpoint(part.Step).Key(PartName(group, group.Index)), part.ToUtf8());
            if (Complete(part.Step, group) is not { } saved)
                return new ShareOutcome(null, group.Index == 0 ? GiveUp(part.Step, keepNewest: true) : []);
            Prune(saveTotalLimit, part.Step);
            // All have written this one, so nobody still writes an earlier one.
            return new ShareOutcome(saved, GiveUp(part.Step, keepNewest: false));
        });
    }

    private CheckpointInfo? Complete(long step, SaveGroup group)
    {
        var place = Location.Checkpoint(step);
        var parts = new List<CheckpointManifest>();
        for (var index = 0; index < group.Count; index++)
        {
            // By name, not from a list: those are late more often than objects. One that has gone was taken away by who completed it.
            if (TryManifest(place, PartName(group, index)) is not { } part)
                return null;
            parts.Add(part);
        }
        var saved = Publish(SharedSave.Join(parts));
        RemoveParts(ObjectsOf(step));
        return saved;
    }

    // Whether the manifest that stands here vouches for what is to be written, and may go on doing so.
    private bool IsThere(long step, Func<CheckpointManifest, bool> same)
    {
        var there = ObjectsOf(step);
        if (!there.ContainsKey(CheckpointManifest.FileName))
            return false;
        if (Summarize(step, there) is { Problem: null, Manifest: { } standing } && same(standing))
            return true;
        // Another job's, or damaged: it must not vouch for objects that change under it.
        Delete(Location.Checkpoint(step).Key(CheckpointManifest.FileName));
        return false;
    }

    private void Send(string folder, CheckpointManifest manifest)
    {
        var place = Location.Checkpoint(manifest.Step);
        foreach (var file in manifest.Files)
            Objects.SendAsync(Location.Bucket, place.Key(file.Name), Path.Combine(folder, file.Name)).GetAwaiter().GetResult();
        var there = ObjectsOf(manifest.Step);
        if ((Shortage(place, manifest, there) ?? EntityTags.FindDamage(folder, manifest.Files, there, Objects.PartSizeFor)) is { } problem)
            throw new SoraException($"After the upload, {problem}", ExitCode.Unreachable);
    }

    // The manifest vouches only for what is there indeed, whatever the store has answered, and it is read back itself.
    private CheckpointInfo Publish(CheckpointManifest manifest)
    {
        var place = Location.Checkpoint(manifest.Step);
        if (Shortage(place, manifest, ObjectsOf(manifest.Step)) is { } shortage)
            throw new SoraException($"After the upload, {shortage}", ExitCode.Unreachable);
        var utf8 = manifest.ToUtf8();
        Put(place.Key(CheckpointManifest.FileName), utf8);
        return Manifest(manifest.Step).ToUtf8().AsSpan().SequenceEqual(utf8)
            ? new CheckpointInfo(place.ToString(), manifest.Step, manifest.WeightsSha256)
            : throw new SoraException($"After the upload, {place}/{CheckpointManifest.FileName} is another one.", ExitCode.Unreachable);
    }

    private void Prune(int limit, long justWritten)
    {
        if (limit == 0)
            return;
        var complete = Steps().Where(step => step.Objects.ContainsKey(CheckpointManifest.FileName)).ToList();
        foreach (var (_, objects) in complete.SkipLast(1).Where(step => step.Step != justWritten).Take(complete.Count - limit))
            Remove(objects);
    }

    // Removes what can never be completed: others may still be busy with the one before, but not with those before that.
    private List<AbandonedCheckpoint> GiveUp(long below, bool keepNewest)
    {
        var abandoned = new List<AbandonedCheckpoint>();
        var earlier = Steps().Where(step => step.Step < below).ToList();
        foreach (var (step, objects) in keepNewest ? earlier.SkipLast(1) : earlier)
        {
            if (objects.ContainsKey(CheckpointManifest.FileName))
            {
                RemoveParts(objects);
                continue;
            }
            foreach (var group in objects.Keys.Select(name => Part().Match(name)).Where(match => match.Success).GroupBy(match => (Writers: match.Groups["writers"].Value, Key: match.Groups["key"].Value)))
                abandoned.Add(new AbandonedCheckpoint(step, $"{group.Key.Writers} workers uploaded it together, and {group.Count()} of them finished their part."));
            Remove(objects);
        }
        return abandoned;
    }

    private void RemoveParts(Dictionary<string, S3Object> objects)
    {
        foreach (var one in objects.Where(one => Part().IsMatch(one.Key)))
            Delete(one.Value.Key);
    }

    private void Remove(Dictionary<string, S3Object> objects)
    {
        foreach (var one in objects.OrderByDescending(one => one.Key == CheckpointManifest.FileName).Select(one => one.Value))
            Delete(one.Key);
    }

    private void Put(string key, byte[] bytes) => Objects.SendAsync(Location.Bucket, key, bytes).GetAwaiter().GetResult();

    private void Delete(string key) => _client.DeleteObjectAsync(Location.Bucket, key).GetAwaiter().GetResult();

    private ShareOutcome Writing(long step, string lacks, Func<ShareOutcome> work)
    {
        try
        {
            return Guarded(Location.Checkpoint(step), work);
        }
        catch (Exception exception) when (exception is SoraException or IOException or UnauthorizedAccessException)
        {
            throw new CheckpointWriteException($"The checkpoint of step {step} {lacks}: {exception.Message}", exception);
        }
    }

    private static string PartName(SaveGroup group, int index) => string.Create(CultureInfo.InvariantCulture, $"part-{index + 1}-of-{group.Count}.{group.Key}.json");

    [GeneratedRegex(@"^part-\d+-of-(?<writers>\d{1,9})\.(?<key>[0-9a-z]+)\.json$")]
    private static partial Regex Part();
}
