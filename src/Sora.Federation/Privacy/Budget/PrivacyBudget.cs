using Sora.Protocol.Jobs;

namespace Sora.Federation.Privacy;

/// <summary>What may be spent, as written in a ledger's first line; it cannot be changed there.</summary>
/// <param name="Scope">Whose data and for what: for example <c>clinic-3/diabetes-notes</c>.</param>
/// <param name="Epsilon">The most that all releases together may cost.</param>
/// <param name="Delta">At this delta.</param>
/// <param name="Accountant"><c>prv</c> or <c>rdp</c>.</param>
public sealed record PrivacyBudget(string Scope, double Epsilon, double Delta, string Accountant = "prv")
{
    /// <summary>Refuses what is no budget.</summary>
    public PrivacyBudget Validated()
    {
        if (string.IsNullOrWhiteSpace(Scope)) throw new SoraException("The privacy budget has no scope: name the site and the data or job it is for.", ExitCode.Usage);
        PrivacyEvent.CheckEpsilon(Epsilon);
        PrivacyEvent.CheckDelta(Delta, PrivacyAccountant.Named(Accountant).LeastDelta);
        return this;
    }
}

/// <summary>Releases that may now happen, since the ledger has them as spent.</summary>
/// <param name="Id">Its number in the ledger.</param>
/// <param name="Event">What may be released.</param>
public sealed record BudgetReservation(long Id, PrivacyEvent Event);

/// <summary>A reservation that is in the ledger.</summary>
/// <param name="Id">Its number in the ledger.</param>
/// <param name="IsOpen">Whether nobody has settled it.</param>
public sealed record KnownReservation(long Id, bool IsOpen);

/// <summary>A reservation was refused: the round must not start.</summary>
public sealed class BudgetExhaustedException(string message) : SoraException(message);
