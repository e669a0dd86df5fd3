using System.Globalization;
using System.Text;
using Sora.Federation.Rounds;

namespace Sora.Federation.Tests.Rounds.Simulation;

/// <summary>Instead of training: hashes of what was asked for. Two models are the same only if everything that went into them is.</summary>
internal static class StandInModel
{
    public static string Update(string site, ModelVersion model, int noise) => Hash($"{site}|{model.Number}|{model.Sha256}|{noise}");

    public static double Weight(string site) => 1 + site.Length + site[^1] % 5;

    public static string Aggregate(ModelVersion model, IEnumerable<AcceptedUpdate> updates)
    {
        var text = new StringBuilder(model.Sha256);
        foreach (var update in updates)
            text.Append(CultureInfo.InvariantCulture, $"|{update.Id.Site} {update.Id.Sha256} {update.Weight} {update.Staleness}");
        return Hash(text.ToString());
    }

    /// <summary>The last model when nothing goes wrong and everybody's update is in every round.</summary>
    public static ModelVersion Undisturbed(FederatedRun run, IEnumerable<string> sites)
    {
        var model = run.Initial;
        while (model.Number < run.Settings.Rounds)
        {
            var updates = sites.Order(StringComparer.Ordinal).Select(site =>
                new AcceptedUpdate(new UpdateId(new RoundKey(model.Number + 1, 1), site, Update(site, model, 0)), Weight(site), 0, 0, 0));
            model = new ModelVersion(model.Number + 1, Aggregate(model, updates));
        }
        return model;
    }

    private static string Hash(string text)
    {
        // FNV-1a: quick, and nobody attacks a simulation.
        var hash = 14695981039346656037UL;
        foreach (var letter in text)
            hash = (hash ^ letter) * 1099511628211UL;
        return hash.ToString("x16", CultureInfo.InvariantCulture);
    }
}
