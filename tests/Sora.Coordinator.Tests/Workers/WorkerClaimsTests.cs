using Akka.Actor;
using Sora.Coordinator.Workers;
using Sora.Protocol.Api;

namespace Sora.Coordinator.Tests.Workers;

public sealed class WorkerClaimsTests : IAsyncDisposable
{
    private readonly ActorSystem _system = ActorSystem.Create("claims", "akka { loglevel = OFF, stdout-loglevel = OFF }");
    private readonly WorkerClaims _claims = new();

    [Fact]
    public void The_same_process_on_a_new_stream_supersedes_its_old_one()
    {
        var (old, again) = (Claim("old", "process"), Claim("again", "process"));

        Assert.True(_claims.Claim(old.Claim));
        Assert.True(_claims.Claim(again.Claim));

        Assert.IsType<CloseStream>(old.Session.Receive());
        Assert.False(_claims.Holds("w1", "old"));
        Assert.False(_claims.Release("w1", "old"));
        Assert.True(_claims.Holds("w1", "again"));
    }

    [Fact]
    public void Another_process_is_turned_away_once_the_holder_is_heard()
    {
        var (holder, twin) = (Claim("first", "process"), Claim("second", "another process"));
        _claims.Claim(holder.Claim);

        Assert.False(_claims.Claim(twin.Claim));
        Assert.IsType<ProveAlive>(holder.Session.Receive());
        Assert.True(_claims.Contends("w1", "second"));
        _claims.HolderIsAlive(new ProvedAlive("w1", "first"));

        Assert.IsType<TurnAway>(twin.Session.Receive());
        Assert.True(_claims.Holds("w1", "first"));
    }

    [Fact]
    public void Another_process_is_made_to_dial_again_once_the_holder_is_lost()
    {
        var (holder, successor) = (Claim("first", "process"), Claim("second", "another process"));
        _claims.Claim(holder.Claim);
        _claims.Claim(successor.Claim);

        Assert.True(_claims.Release("w1", "first"));
        _claims.HolderIsAlive(new ProvedAlive("w1", "first"));

        Assert.IsType<CloseStream>(successor.Session.Receive());
        Assert.True(_claims.Claim(Claim("third", "another process").Claim));
    }

    [Fact]
    public void Proof_of_an_old_stream_proves_nothing()
    {
        _claims.Claim(Claim("first", "process").Claim);
        _claims.Claim(Claim("second", "another process").Claim);

        _claims.HolderIsAlive(new ProvedAlive("w1", "an older one"));

        Assert.True(_claims.Contends("w1", "second"));
    }

    public async ValueTask DisposeAsync() => await _system.Terminate();

    private (WorkerClaim Claim, Inbox Session) Claim(string connection, string incarnation)
    {
        var session = Inbox.Create(_system);
        return (new WorkerClaim(connection, new Hello { Worker = "w1", Incarnation = incarnation }, session.Receiver), session);
    }
}
