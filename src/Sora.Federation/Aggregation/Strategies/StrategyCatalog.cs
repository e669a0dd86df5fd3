using System.Globalization;
using Sora.Federation.Aggregation.Robust;
using Sora.Protocol.Jobs;

namespace Sora.Federation.Aggregation.Strategies;

/// <summary>A parameter of a strategy.</summary>
/// <param name="Name">Its key in a job.</param>
/// <param name="Default">Its value if none is given.</param>
/// <param name="Least">The least value; where it is <see cref="double.Epsilon"/>, anything above 0.</param>
/// <param name="Most">The greatest value.</param>
/// <param name="Meaning">What it does.</param>
/// <param name="IsWhole">Whether it is a whole number.</param>
public sealed record StrategyParameter(string Name, double Default, double Least, double Most, string Meaning, bool IsWhole = false)
{
    /// <summary>Whether a value is allowed; not a number never is.</summary>
    public bool Allows(double value) => value >= Least && value <= Most && (!IsWhole || value == Math.Floor(value));

    /// <summary>What would be allowed.</summary>
    public string Advice
    {
        get
        {
            var least = Least == double.Epsilon ? "more than 0" : Least.ToString(CultureInfo.InvariantCulture);
            var range = Most == double.PositiveInfinity ? Least == double.Epsilon ? least : $"{least} or more" : string.Create(CultureInfo.InvariantCulture, $"{least} to {Most}");
            return IsWhole ? $"use a whole number, {range}" : $"use {range}";
        }
    }
}

/// <summary>What is wrong with the choice of a strategy.</summary>
/// <param name="Parameter">Which parameter; null: the name of the strategy.</param>
/// <param name="Advice">What would be right.</param>
public sealed record StrategyError(string? Parameter, string Advice);

/// <summary>The strategies by name with their parameters: the one list that jobs, policies and the server go by.</summary>
public static class StrategyCatalog
{
    private const double Below1 = 0.999999;

    private static readonly StrategyParameter[] Screening =
    [
        new("clipping_norm", double.PositiveInfinity, double.Epsilon, double.PositiveInfinity, "updates with a larger norm are scaled down to it"),
        new("max_norm_ratio", double.PositiveInfinity, 1, double.PositiveInfinity, "updates with a norm beyond so many times the median are left out"),
        new("min_cosine", -1, -1, 1, "updates whose cosine with the median update is smaller are left out"),
    ];

    private static readonly Entry[] Entries =
    [
        new("fedavg", [Rate(1)], p => new("fedavg", new GradientDescent(p["server_learning_rate"]))),
        new("fedavgm", [Rate(1), Momentum], p => new("fedavgm", new GradientDescent(p["server_learning_rate"], p["server_momentum"]))),
        new("fedprox", [Rate(1), new("proximal_mu", 0.01, 0, 1000, "strength of the sites' pull back to the global weights")],
            p => new("fedprox", new GradientDescent(p["server_learning_rate"])) { SiteParameters = new Dictionary<string, double> { ["proximal_mu"] = p["proximal_mu"] } }),
        new("fedadam", [Rate(0.1), Beta1(0.9), Beta2, Tau(1e-3)], p => Adaptive("fedadam", SecondMoment.Adam, p)),
        new("fedyogi", [Rate(0.01), Beta1(0.9), Beta2, Tau(1e-3)], p => Adaptive("fedyogi", SecondMoment.Yogi, p)),
        new("fedadagrad", [Rate(0.1), Beta1(0), Tau(1e-9)], p => Adaptive("fedadagrad", SecondMoment.Adagrad, p)),
        new("scaffold", [Rate(1), new("total_sites", 0, 0, 1 << 20, "all sites of the job; 0: those of each round", IsWhole: true)],
            p => new("scaffold", new Scaffold(p["server_learning_rate"], (int)p["total_sites"])) { Weighting = Weighting.Uniform }),
        new("diloco", [Rate(0.7), Momentum], p => new("diloco", new GradientDescent(p["server_learning_rate"], p["server_momentum"], Nesterov: true))),
        new("fedbuff", [Rate(1), new("staleness_exponent", 0.5, 0, 10, "how fast stale updates lose weight")],
            p => new("fedbuff", new GradientDescent(p["server_learning_rate"])) { Weighting = Weighting.Staleness, StalenessExponent = p["staleness_exponent"] }),
        new("median", [], _ => new("median", new GradientDescent()) { Rule = CoordinateRule.Median, Weighting = Weighting.Uniform }),
        new("trimmed_mean", [new("trim_fraction", 0.2, 0, 0.499999, "part cut off at each end")],
            p => new("trimmed_mean", new GradientDescent()) { Rule = CoordinateRule.TrimmedMean(p["trim_fraction"]), Weighting = Weighting.Uniform }),
        new("krum", [Byzantine], p => new("krum", new GradientDescent()) { Screens = [new Krum((int)p["byzantine_sites"])], Weighting = Weighting.Uniform }),
        new("multi_krum", [Byzantine, new("selected_sites", 1, 1, 1 << 20, "updates that are kept", IsWhole: true)],
            p => new("multi_krum", new GradientDescent())
            {
                Screens = [new Krum((int)p["byzantine_sites"], (int)p["selected_sites"])],
                Weighting = Weighting.Uniform,
            }),
    ];

    private static readonly Dictionary<string, Entry> ByName = Entries.ToDictionary(entry => entry.Name, StringComparer.Ordinal);

    private static StrategyParameter Momentum => new("server_momentum", 0.9, 0, Below1, "momentum of the server");

    private static StrategyParameter Beta2 => new("beta_2", 0.99, 0, Below1, "decay of the second moment");

    private static StrategyParameter Byzantine => new("byzantine_sites", 1, 0, 1 << 20, "malicious sites that are reckoned with", IsWhole: true);

    /// <summary>The names.</summary>
    public static IReadOnlyList<string> Names { get; } = [.. Entries.Select(entry => entry.Name)];

    /// <summary>Strategies that look at single updates whatever their parameters, which secure aggregation hides.</summary>
    public static IReadOnlySet<string> NeedingSingleUpdates { get; } = new SortedSet<string>(["median", "trimmed_mean", "krum", "multi_krum"], StringComparer.Ordinal);

    /// <summary>The parameters that make any strategy look at single updates.</summary>
    public static IReadOnlyList<string> ScreeningParameters { get; } = [.. Screening.Select(parameter => parameter.Name)];

    /// <summary>The parameters of a strategy, those of the screens (which every strategy but SCAFFOLD has) at the end.</summary>
    /// <exception cref="SoraException">There is no such strategy.</exception>
    public static IReadOnlyList<StrategyParameter> ParametersOf(string name) =>
        ByName.TryGetValue(name, out var entry) ? entry.AllParameters : throw new SoraException($"strategy: {Unknown(name)}.", ExitCode.Usage);

    /// <summary>Everything wrong with a choice; empty when it is fine.</summary>
    public static IReadOnlyList<StrategyError> Check(string name, IReadOnlyDictionary<string, double> parameters)
    {
        if (!ByName.TryGetValue(name, out var entry))
            return [new StrategyError(null, Unknown(name))];
        var errors = new List<StrategyError>();
        foreach (var (key, value) in parameters)
        {
            var parameter = entry.AllParameters.FirstOrDefault(parameter => parameter.Name == key);
            if (parameter is null)
            {
                var known = entry.AllParameters.Select(one => one.Name).ToList();
                errors.Add(new StrategyError(key, $"{name} has no such parameter; it has {string.Join(", ", known)}{Near(key, known)}"));
            }
            else if (!parameter.Allows(value))
            {
                errors.Add(new StrategyError(key, parameter.Advice));
            }
        }
        return errors;
    }

    /// <summary>Creates a strategy.</summary>
    /// <param name="name">One of <see cref="Names"/>.</param>
    /// <param name="parameters">What differs from the defaults.</param>
    /// <exception cref="SoraException"><see cref="Check"/> finds something wrong.</exception>
    public static ServerStrategy Create(string name, IReadOnlyDictionary<string, double>? parameters = null)
    {
        if (Check(name, parameters ?? new Dictionary<string, double>()) is [var error, ..])
            throw new SoraException($"strategy{(error.Parameter is null ? "" : "." + error.Parameter)}: {error.Advice}.", ExitCode.Usage);
        var entry = ByName[name];
        var values = entry.AllParameters.ToDictionary(parameter => parameter.Name, parameter => parameters?.TryGetValue(parameter.Name, out var value) == true ? value : parameter.Default);
        var strategy = entry.Build(values);
        return entry.IsScreened ? strategy with { Screens = [.. ScreensOf(values), .. strategy.Screens] } : strategy;
    }

    private static IEnumerable<IScreen> ScreensOf(Dictionary<string, double> values)
    {
        if (double.IsFinite(values["max_norm_ratio"]))
            yield return new NormOutliers(values["max_norm_ratio"]);
        if (values["min_cosine"] > -1)
            yield return new CosineOutliers(values["min_cosine"]);
        if (double.IsFinite(values["clipping_norm"]))
            yield return new NormClipping(values["clipping_norm"]);
    }

    private static ServerStrategy Adaptive(string name, SecondMoment moment, Dictionary<string, double> p) =>
        new(name, new AdaptiveOptimizer(moment, p["server_learning_rate"], p["beta_1"], moment == SecondMoment.Adagrad ? 0 : p["beta_2"], p["tau"]));

    private static StrategyParameter Rate(double value) => new("server_learning_rate", value, double.Epsilon, 1000, "learning rate of the server");

    private static StrategyParameter Beta1(double value) => new("beta_1", value, 0, Below1, "decay of the first moment");

    private static StrategyParameter Tau(double value) => new("tau", value, double.Epsilon, 1000, "degree of adaptivity");

    private static string Unknown(string name) => $"there is no '{name}'; use one of {string.Join(", ", Names)}{Near(name, Names)}";

    private static string Near(string name, IEnumerable<string> candidates) => NearestName.Of(name, candidates) is { } near ? $". Did you mean '{near}'?" : "";

    private sealed record Entry(string Name, StrategyParameter[] Parameters, Func<Dictionary<string, double>, ServerStrategy> Build)
    {
        // SCAFFOLD's update is two vectors of different meaning; a norm or a direction of both together says nothing.
        public bool IsScreened => Name != "scaffold";

        public IReadOnlyList<StrategyParameter> AllParameters { get; } = Name == "scaffold" ? Parameters : [.. Parameters, .. Screening];
    }
}
