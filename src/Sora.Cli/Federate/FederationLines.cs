using System.Globalization;
using Sora.Cli.Display;
using Sora.Federation.Rounds;
using Sora.Protocol.Runs;

namespace Sora.Cli.Federate;

/// <summary>Where sites elsewhere find the coordinator, and who it is.</summary>
internal sealed record SitesAwaited(string Address, string Fingerprint, string Admissions) : RunEvent;

/// <summary>The losses of a site's held-out text: of what all began with, of the site trained alone, of the rounds together.</summary>
internal sealed record SiteCompared(string Site, double InitialLoss, double LocalLoss, double GlobalLoss) : RunEvent;

/// <summary>Reports of a federated run as the lines people read; null for what needs none.</summary>
internal static class FederationLines
{
    public static string? Of(RunEvent happened) => happened switch
    {
        SitesAwaited e => $"coordinator {e.Fingerprint} at {e.Address}\nto let a site in: sora site register SITE.key.pub --admissions {e.Admissions}\nto join as one:   sora site --coordinator {e.Address} --data DIR --policy policy.yaml --identity SITE.key",
        FederationStarted e => $"run {e.Run}: {Format.Of(e.Rounds, "round")}, {e.Strategy}, {e.Mode}, at least {Format.Of(e.MinAvailableSites, "site")}{(e.SecureAggregation ? ", secure aggregation" : "")}{(e.DifferentialPrivacy ? ", differential privacy" : "")}",
        FederationResumed e => $"run {e.Run} goes on in round {e.Round} of {e.Rounds}",
        SiteJoined e => $"site {e.Site} joined",
        SiteTurnedAway e => $"site {e.Site} takes no part: {e.Reason}",
        SiteGone e => $"site {e.Site} is gone: {e.Reason}",
        RoundWaiting e => $"waiting before round {e.Round}: {e.Message}",
        RoundBegan e => $"round {e.Round}{(e.Attempt > 1 ? $", attempt {e.Attempt}" : "")}: {string.Join(", ", e.Cohort)}{Epsilon(e.Epsilon)}",
        SiteDeclined e => $"site {e.Site} declines round {e.Round}: {e.Reason}",
        UpdateTurnedAway e => $"the update of {e.Site} for round {e.Round} does not count: {e.Reason}",
        SecureStageClosed e => $"round {e.Round}: {e.Stage} of {Format.Of(e.Answered.Count, "site")}{(e.DroppedOut.Count > 0 ? $", without {string.Join(", ", e.DroppedOut)}" : "")}",
        RoundExtended e => string.Create(CultureInfo.InvariantCulture, $"round {e.Round} waits {e.Seconds:0} s more: {e.Updates} of {e.Quorum} updates are here"),
        RoundGivenUp e => $"round {e.Round}, attempt {e.Attempt}, is given up: {e.Reason}",
        RoundCommitted e => string.Create(CultureInfo.InvariantCulture,
            $"round: {e.Round}  loss: {Format.Loss(e.Loss)}  {string.Join("  ", e.Sites.Select(Share))}  ({e.Seconds:0.0}s){Epsilon(e.Epsilon)}"),
        RoundEvaluated e => $"eval: round {e.Round}  eval_loss: {(e.Loss is { } loss ? Format.Loss(loss) : "nobody answered")}  {string.Join("  ", e.Sites.Select(site => $"{site.Site}: {Format.Loss(site.Loss)}"))}",
        SiteCompared e => $"held-out text of {e.Site}: before {Format.Loss(e.InitialLoss)}, trained alone {Format.Loss(e.LocalLoss)}, all rounds {Format.Loss(e.GlobalLoss)}{(e.GlobalLoss < e.LocalLoss ? "" : "  (alone it is better)")}",
        FederationFinished e => $"finished: {Format.Of(e.Rounds, "round")}{(e.EvalLoss is { } loss ? $"  eval_loss: {Format.Loss(loss)}" : "")}{Epsilon(e.Epsilon)}\nmodel: {e.ModelSha256}",
        FederationStopped e => $"stopped after round {e.Round}: {e.Reason}. The same command goes on",
        _ => null,
    };

    private static string Share(SiteShare site) => site.Loss is { } loss && site.Outcome == "counted" ? $"{site.Site}: {Format.Loss(loss)}" : $"{site.Site}: {site.Outcome}{(site.Reason.Length > 0 ? $" ({site.Reason})" : "")}";

    private static string Epsilon(double? epsilon) => epsilon is { } spent ? string.Create(CultureInfo.InvariantCulture, $"  epsilon: {spent:0.00}") : "";
}
