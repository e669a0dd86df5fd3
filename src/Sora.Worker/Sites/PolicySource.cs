using System.Globalization;
using Sora.Federation.Policies;
using Sora.Protocol.Jobs;

namespace Sora.Worker.Sites;

/// <summary>The policy as its file says now. While the file is not sound nothing is permitted, not even to say so.</summary>
internal sealed class PolicySource
{
    private const string LossMetric = "loss";
    private readonly string _path;

    /// <exception cref="JobErrors">The file is not sound.</exception>
    public PolicySource(string path)
    {
        _path = path;
        Current = PolicyFile.Load(path);
    }

    /// <summary>What is in force; null: nothing is permitted.</summary>
    public LoadedPolicy? Current { get; private set; }

    /// <summary>Why nothing is permitted.</summary>
    public string Problem { get; private set; } = "";

    /// <summary>Reads the file again: what its owner changed counts from the next round on.</summary>
    public void Reload()
    {
        try
        {
            (Current, Problem) = (PolicyFile.Load(_path), "");
        }
        catch (SoraException e)
        {
            (Current, Problem) = (null, e.Message);
        }
    }

    /// <summary>Whether the site may talk to the coordinator with this key.</summary>
    public bool Knows(string coordinator) => Current?.Policy.Coordinators.Contains(coordinator) == true;

    /// <summary>Whether a type of message may leave.</summary>
    public bool MayLeave(string type) => Current is { } policy && PolicyJudge.MayLeave(policy.Policy, type);

    /// <summary>A loss as it may leave, rounded; not a number where it may not.</summary>
    /// <param name="loss">The loss.</param>
    /// <param name="examples">Examples it is the mean of.</param>
    public double Releasable(double loss, long examples)
    {
        if (Current is not { } policy || !MayLeave(SiteMessages.Metrics))
            return double.NaN;
        var metric = new MetricRequest(LossMetric, policy.Policy.Metrics.MaxDigits, (int)Math.Min(examples, int.MaxValue));
        return PolicyJudge.MayLeave(policy.Policy, metric) ? Round(loss, metric.Digits) : double.NaN;
    }

    private static double Round(double value, int digits)
    {
        if (value == 0 || !double.IsFinite(value))
            return value;
        // Through text: scaling by powers of ten would leave digits of its own.
        return double.Parse(value.ToString($"E{digits - 1}", CultureInfo.InvariantCulture), CultureInfo.InvariantCulture);
    }
}
