using System.Security.Cryptography;
using Sora.Federation.Audit;
using Sora.Federation.Policies;
using Sora.Federation.Rounds;
using Sora.Federation.Wire;
using Sora.Protocol.Api;
using Sora.Worker.Session;

namespace Sora.Worker.Sites;

/// <summary>
/// The only way out of a site: the policy is asked for every message, and what may leave is in the audit log before it does. What the
/// policy does not permit is not sent, whoever decided to say it.
/// </summary>
internal sealed class SiteOutlet(PolicySource policy, AuditLog audit)
{
    private ICoordinatorStream? _stream;
    private SignedWords? _words;
    private string _job = "";

    /// <summary>There is a stream; nobody has proved anything yet.</summary>
    public void Open(ICoordinatorStream stream) => (_stream, _words) = (stream, null);

    /// <summary>The coordinator has let the site in.</summary>
    public void Admit(SignedWords words, string job) => (_words, _job) = (words, job);

    /// <summary>The stream is gone.</summary>
    public void Close() => (_stream, _words) = (null, null);

    /// <returns>Whether the policy permits it.</returns>
    public bool Introduce(SiteIntroduction introduction) => Send(SiteMessages.Join, new FromWorker { SiteIntroduction = introduction });

    /// <returns>Whether the policy permits it.</returns>
    public bool Prove(SiteProof proof) => Send(SiteMessages.Join, new FromWorker { SiteProof = proof });

    public void Beat() => Send(SiteMessages.Heartbeat, new FromWorker { Heartbeat = new Heartbeat() });

    /// <returns>The type that the policy does not let out; null: it was sent, as far as there is a stream.</returns>
    public string? Say(FromSite message)
    {
        var type = RoundMessageFormat.TypeOf(message);
        if (!policy.MayLeave(type))
            return type;
        if (_stream is null || _words is null)
            return null;
        var content = RoundMessageFormat.Write(message);
        var round = RoundMessageFormat.RoundOf(message);
        audit.Append(new MessageSent(_job, round, _words.Coordinator, type, content.Length, Convert.ToHexStringLower(SHA256.HashData(content))));
        _stream.Send(new FromWorker { SiteWord = _words.Sign(round, type, content) });
        return null;
    }

    /// <summary>Asks for, and records, the sending of an update's chunks.</summary>
    /// <returns>Whether the policy permits it.</returns>
    public bool MaySend(UpdateOffer offer)
    {
        if (!policy.MayLeave(SiteMessages.Update) || _words is null)
            return false;
        audit.Append(new MessageSent(_job, offer.Id.Round.Round, _words.Coordinator, SiteMessages.Update, offer.Bytes, offer.Id.Sha256));
        return true;
    }

    private bool Send(string type, FromWorker message)
    {
        if (!policy.MayLeave(type))
            return false;
        _stream?.Send(message);
        return true;
    }
}
