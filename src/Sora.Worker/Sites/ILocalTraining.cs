using Sora.Federation.Policies;
using Sora.Federation.Rounds;
using Sora.Protocol.Jobs;

namespace Sora.Worker.Sites;

/// <summary>A run as a site was let into it: what it keeps for as long as the run lasts.</summary>
/// <param name="Run">The federated run as it was submitted.</param>
/// <param name="Job">The resolved job.</param>
/// <param name="Site">The name this site is registered under.</param>
public sealed record SiteAssignment(FederatedRun Run, TrainingJob Job, string Site);

/// <summary>What local training would do for a run; the policy is asked about it.</summary>
/// <param name="Data">The data it would read.</param>
/// <param name="Content">What its updates would hold.</param>
public sealed record LocalPlan(IReadOnlyList<SiteDataSet> Data, UpdateContent Content);

/// <summary>What local training makes of a global model.</summary>
/// <param name="Values">The trained parameters minus those it began with, in the model's order; taken over by the caller.</param>
/// <param name="Weight">Examples or tokens it was trained on.</param>
/// <param name="Loss">Mean loss of the training.</param>
public sealed record LocalUpdate(float[] Values, double Weight, double Loss);

/// <summary>What a site's held-out data says of a global model.</summary>
/// <param name="Loss">Mean loss.</param>
/// <param name="Examples">Examples it is the mean of.</param>
public sealed record LocalEvaluation(double Loss, double Examples);

/// <summary>Where the numbers of a site come from.</summary>
public interface ILocalTrainingSource
{
    /// <summary>What a run would be given. No data is read to answer: the policy has not been asked yet.</summary>
    /// <exception cref="SoraException">The site has not what the job needs.</exception>
    LocalPlan Plan(SiteAssignment assignment, IReadOnlyList<SiteDataSet> data);

    /// <summary>Prepares for a run, on the thread that all its training will be done on, once the policy has permitted a round.</summary>
    /// <exception cref="SoraException">The site's data or machine is not fit for the job.</exception>
    ILocalTraining Open(SiteAssignment assignment, LocalPlan plan);
}

/// <summary>
/// The numbers of one run: training and evaluation on the site's own data. Always called on one and the same thread. It neither clips nor
/// adds noise, and knows nothing of coordinators: what leaves is not its business.
/// </summary>
public interface ILocalTraining : IDisposable
{
    /// <summary>Examples it trains on.</summary>
    long Examples { get; }

    /// <summary>Examples held out for evaluation; 0: none.</summary>
    long HeldOutExamples { get; }

    /// <summary>Trains on a global model.</summary>
    /// <param name="round">How much.</param>
    /// <param name="parameters">The model.</param>
    /// <param name="settings">The job's federated section.</param>
    /// <param name="cancellationToken">The round is over: the result is not wanted any more.</param>
    LocalUpdate Train(RoundAnnounced round, ReadOnlySpan<float> parameters, FederationSettings settings, CancellationToken cancellationToken);

    /// <summary>Evaluates a global model on the held-out examples.</summary>
    LocalEvaluation Evaluate(ReadOnlySpan<float> parameters, CancellationToken cancellationToken);
}
