using Sora.Protocol.Jobs;
using Sora.Worker.Sites;

namespace Sora.Worker.Tests.Sites;

/// <summary>A journal whose process dies right before or after a record reaches the disk.</summary>
internal sealed class DyingJournal(ISiteJournal inner, int at, bool after, Action died) : ISiteJournal
{
    private int _appended;
    private bool _dead;

    public IReadOnlyList<SiteRecord> Records => inner.Records;

    public void Append(SiteRecord record)
    {
        ObjectDisposedException.ThrowIf(_dead, this);
        var dies = _appended++ == at;
        if (!dies || after)
            inner.Append(record);
        if (!dies)
            return;
        _dead = true;
        died();
        throw new SoraException("The process dies here.", ExitCode.Failure);
    }

    public void Dispose() => inner.Dispose();
}
