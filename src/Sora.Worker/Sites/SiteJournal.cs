using System.Buffers;
using System.Buffers.Binary;
using System.IO.Hashing;
using MessagePack;
using Sora.Federation.Rounds;
using Sora.Federation.Wire;
using Sora.Protocol.Jobs;

namespace Sora.Worker.Sites;

/// <summary>Something a site must know of a run after a restart.</summary>
internal abstract record SiteRecord;

/// <summary>A decision of <see cref="RoundSite"/>.</summary>
internal sealed record SiteDecided(RoundSiteDecision Decision) : SiteRecord;

/// <summary>The privacy ledger holds the attempt's release under this number.</summary>
internal sealed record ReleaseReserved(RoundKey Round, long Reservation) : SiteRecord;

/// <summary>The reservation is given back: nothing of the attempt has left or will.</summary>
internal sealed record ReleaseReturned(RoundKey Round) : SiteRecord;

/// <summary>The site's part in the run is over.</summary>
internal sealed record RunLeft(string Reason) : SiteRecord;

/// <summary>Where a site's records are kept.</summary>
internal interface ISiteJournal : IDisposable
{
    /// <summary>All records, oldest first.</summary>
    IReadOnlyList<SiteRecord> Records { get; }

    /// <summary>Makes a record durable before it returns.</summary>
    /// <exception cref="SoraException">It cannot; then nothing that depends on it may be done.</exception>
    void Append(SiteRecord record);
}

/// <summary>
/// The journal of one run as a file: frames of length, hash and content, each on the disk before it counts. A frame that a crash cut
/// short is taken out when the file is opened again; any other damage is an error, because a decision that is forgotten could be taken
/// differently the second time.
/// </summary>
internal sealed class SiteJournal : ISiteJournal
{
    private const int FrameBytes = sizeof(int) + sizeof(ulong);
    private const int MaxRecordBytes = 1 << 20;
    private readonly Lock _lock = new();
    private readonly List<SiteRecord> _records = [];
    private readonly FileStream _file;
    private readonly string _path;
    private bool _failed;

    private SiteJournal(string path, FileStream file) => (_path, _file) = (path, file);

    public IReadOnlyList<SiteRecord> Records
    {
        get { lock (_lock) return [.. _records]; }
    }

    /// <summary>Opens a journal to go on with it, or begins one.</summary>
    /// <exception cref="SoraException">It is in use or damaged.</exception>
    public static SiteJournal Open(string path)
    {
        FileStream? file = null;
        try
        {
            file = new FileStream(path, FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.None, bufferSize: 1);
            var journal = new SiteJournal(path, file);
            var bytes = new byte[file.Length];
            file.ReadExactly(bytes);
            var end = Read(bytes, journal._records, path);
            file.SetLength(end);
            file.Position = end;
            file.Flush(flushToDisk: true);
            file = null;
            return journal;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new SoraException($"The site's journal {path} cannot be opened: {e.Message} If another process of this site is running, stop it.", ExitCode.Failure, e);
        }
        finally
        {
            file?.Dispose();
        }
    }

    /// <summary>What a journal says that nobody writes.</summary>
    public static IReadOnlyList<SiteRecord> ReadOnly(string path)
    {
        var records = new List<SiteRecord>();
        Read(File.ReadAllBytes(path), records, path);
        return records;
    }

    public void Append(SiteRecord record)
    {
        lock (_lock)
        {
            if (_failed)
                throw new SoraException($"The site's journal {_path} could not be written before. Start the site again when the disk is in order.", ExitCode.Failure);
            var content = Pack(record);
            var frame = new byte[FrameBytes + content.Length];
            BinaryPrimitives.WriteInt32LittleEndian(frame, content.Length);
            BinaryPrimitives.WriteUInt64LittleEndian(frame.AsSpan(sizeof(int)), XxHash3.HashToUInt64(content));
            content.CopyTo(frame.AsSpan(FrameBytes));
            try
            {
                _failed = true; // whatever interrupts this leaves the end of the file in doubt
                _file.Write(frame);
                _file.Flush(flushToDisk: true);
                _failed = false;
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException)
            {
                throw new SoraException($"The site's journal {_path} cannot be written: {e.Message} The site does nothing it could not remember.", ExitCode.Failure, e);
            }
            _records.Add(record);
        }
    }

    public void Dispose() => _file.Dispose();

    /// <returns>Where the last whole record ends.</returns>
    private static int Read(ReadOnlyMemory<byte> bytes, List<SiteRecord> records, string path)
    {
        var at = 0;
        while (at < bytes.Length)
        {
            var rest = bytes[at..];
            if (rest.Length < FrameBytes)
                return at;
            var length = BinaryPrimitives.ReadInt32LittleEndian(rest.Span);
            if (length is < 1 or > MaxRecordBytes || rest.Length < FrameBytes + length || XxHash3.HashToUInt64(rest.Span.Slice(FrameBytes, length)) != BinaryPrimitives.ReadUInt64LittleEndian(rest.Span[sizeof(int)..]))
            {
                // Records are written one at a time, so only the last one can be torn, and nothing whole follows it.
                var isLast = length is >= 1 and <= MaxRecordBytes ? rest.Length <= FrameBytes + length : !rest.Span.ContainsAnyExcept((byte)0);
                return isLast ? at : throw Damaged(path, at);
            }
            try
            {
                records.Add(Unpack(rest.Slice(FrameBytes, length)));
            }
            catch (Exception e) when (e is MessagePackSerializationException or EndOfStreamException or InvalidRoundMessageException)
            {
                throw Damaged(path, at, e);
            }
            at += FrameBytes + length;
        }
        return at;
    }

    private static SoraException Damaged(string path, int at, Exception? inner = null) => new(
        $"The site's journal {path} is damaged at byte {at}. The site cannot know which updates it has promised, so it takes no part in this run any more: move the run's folder away, or restore it with the site's ledgers from a backup.",
        ExitCode.InvalidInput, inner);

    private enum Kind { Decided, Reserved, Returned, Left }

    private static byte[] Pack(SiteRecord record)
    {
        var buffer = new ArrayBufferWriter<byte>();
        var writer = new MessagePackWriter(buffer);
        switch (record)
        {
            case SiteDecided decided:
                Begin(ref writer, Kind.Decided, 1);
                writer.Write(SiteDecisionFormat.Write(decided.Decision));
                break;
            case ReleaseReserved reserved:
                Begin(ref writer, Kind.Reserved, 3);
                Write(ref writer, reserved.Round);
                writer.Write(reserved.Reservation);
                break;
            case ReleaseReturned returned:
                Begin(ref writer, Kind.Returned, 2);
                Write(ref writer, returned.Round);
                break;
            case RunLeft left:
                Begin(ref writer, Kind.Left, 1);
                writer.Write(left.Reason);
                break;
            default:
                throw new ArgumentOutOfRangeException(nameof(record), record, "unknown record");
        }
        writer.Flush();
        return buffer.WrittenSpan.ToArray();

        static void Begin(ref MessagePackWriter writer, Kind kind, int fields)
        {
            writer.WriteArrayHeader(1 + fields);
            writer.Write((int)kind);
        }

        static void Write(ref MessagePackWriter writer, RoundKey round)
        {
            writer.Write(round.Round);
            writer.Write(round.Attempt);
        }
    }

    private static SiteRecord Unpack(ReadOnlyMemory<byte> content)
    {
        var reader = new MessagePackReader(content);
        reader.ReadArrayHeader();
        return (Kind)reader.ReadInt32() switch
        {
            Kind.Decided => new SiteDecided(SiteDecisionFormat.Read(reader.ReadBytes()!.Value.ToArray())),
            Kind.Reserved => new ReleaseReserved(new RoundKey(reader.ReadInt32(), reader.ReadInt32()), reader.ReadInt64()),
            Kind.Returned => new ReleaseReturned(new RoundKey(reader.ReadInt32(), reader.ReadInt32())),
            Kind.Left => new RunLeft(reader.ReadString() ?? ""),
            var kind => throw new MessagePackSerializationException($"A record of kind {(int)kind} is of a later release."),
        };
    }
}
