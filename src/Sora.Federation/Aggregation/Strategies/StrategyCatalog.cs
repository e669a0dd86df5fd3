using Sora.Federation.Aggregation.Robust;
using Sora.Protocol.Jobs;

namespace Sora.Federation.Aggregation.Strategies;

/// <summary>A parameter of a strategy.</summary>
/// <param name="Name">As the papers and other frameworks call it.</param>
/// <param name="Default">Its value if none is given; null when one must be given.</param>
/// <param name="Min">The least value.</param>
/// <param name="Max">The greatest value.</param>
/// <param name="Meaning">What it does.</param>
/// <param name="Integer">Whether it is a whole number.</param>
public sealed record StrategyParameter(string Name, double? Default, double Min, double Max, string Meaning, bool Integer = false);

/// <summary>The strategies by name, with the parameter names users know.</summary>
public static class StrategyCatalog
{
    private const double Tiny = 1e-30;
    private const double Below1 = 0.999999999;
    private static readonly StrategyParameter EtaL = new("eta_l", 0.1, Tiny, 1e6, "learning rate of the sites");
    private static readonly StrategyParameter ServerRate = new("server_learning_rate", 1, Tiny, 1e6, "learning rate of the server");
    private static readonly StrategyParameter Malicious = new("num_malicious_nodes", null, 0, 1 << 20, "malicious sites that are reckoned with", Integer: true);

    private static readonly StrategyParameter[] Screening =
    [
        new("clipping_norm", double.PositiveInfinity, Tiny, double.PositiveInfinity, "updates with a larger norm are scaled down to it"),
        new("max_norm_ratio", double.PositiveInfinity, 1, double.PositiveInfinity, "updates with a norm beyond so many times the median are left out"),
        new("min_cosine", -1, -1, 1, "updates whose cosine with the median update is smaller are left out"),
    ];

    private static readonly Dictionary<string, (StrategyParameter[] Parameters, Func<Values, ServerStrategy> Build)> Known = new(StringComparer.Ordinal)
    {
        ["fedavg"] = ([], _ => new("fedavg", new GradientDescent())),
        ["fedavgm"] = ([ServerRate, new("server_momentum", 0.9, 0, Below1, "momentum of the server")],
            p => new("fedavgm", new GradientDescent(p["server_learning_rate"], p["server_momentum"]))),
        ["fedprox"] = ([new("proximal_mu", null, 0, 1e6, "strength of the pull back to the global weights")],
            p => new("fedprox", new GradientDescent()) { SiteParameters = p.Only("proximal_mu") }),
        ["fedadam"] = ([Eta(0.1), EtaL, Beta1(0.9), Beta2, Tau(1e-3)], p => Adaptive("fedadam", SecondMoment.Adam, p)),
        ["fedyogi"] = ([Eta(0.01), EtaL with { Default = 0.0316 }, Beta1(0.9), Beta2, Tau(1e-3)], p => Adaptive("fedyogi", SecondMoment.Yogi, p)),
        ["fedadagrad"] = ([Eta(0.1), EtaL, Beta1(0), Tau(1e-9)], p => Adaptive("fedadagrad", SecondMoment.Adagrad, p)),
        ["scaffold"] = ([new("eta_g", 1, Tiny, 1e6, "learning rate of the server"), EtaL, new("num_nodes", null, 1, 1 << 20, "all sites of the job", Integer: true)],
            p => new("scaffold", new Scaffold(p["eta_g"], (int)p["num_nodes"])) { Weighting = Weighting.Uniform, SiteParameters = p.Only("eta_l") }),
        ["diloco"] = ([new("outer_learning_rate", 0.7, Tiny, 1e6, "outer learning rate"), new("outer_momentum", 0.9, 0, Below1, "outer Nesterov momentum")],
            p => new("diloco", new GradientDescent(p["outer_learning_rate"], p["outer_momentum"], Nesterov: true))),
        ["fedbuff"] = ([ServerRate, new("buffer_size", 10, 1, 1 << 20, "K: updates that make a server step", Integer: true)],
            p => new("fedbuff", new GradientDescent(p["server_learning_rate"])) { Weighting = Weighting.Staleness, BufferSize = (int)p["buffer_size"] }),
        ["fedmedian"] = ([], _ => new("fedmedian", new GradientDescent()) { Rule = CoordinateRule.Median, Weighting = Weighting.Uniform }),
        ["fedtrimmedavg"] = ([new("beta", 0.2, 0, 0.4999999, "part cut off at each end")],
            p => new("fedtrimmedavg", new GradientDescent()) { Rule = CoordinateRule.TrimmedMean(p["beta"]), Weighting = Weighting.Uniform }),
        ["krum"] = ([Malicious], p => new("krum", new GradientDescent()) { Screens = [new Krum((int)p["num_malicious_nodes"])], Weighting = Weighting.Uniform }),
        ["multikrum"] = ([Malicious, new("num_nodes_to_select", null, 1, 1 << 20, "updates that are kept", Integer: true)],
            p => new("multikrum", new GradientDescent())
            {
                Screens = [new Krum((int)p["num_malicious_nodes"], (int)p["num_nodes_to_select"])],
                Weighting = Weighting.Uniform,
            }),
    };

    /// <summary>The names, in alphabetical order.</summary>
    public static IReadOnlyList<string> Names => [.. Known.Keys.Order(StringComparer.Ordinal)];

    /// <summary>The parameters of a strategy, those of the screens (which every strategy but SCAFFOLD has) at the end.</summary>
    public static IReadOnlyList<StrategyParameter> ParametersOf(string name) =>
        Known.TryGetValue(name, out var entry)
            ? name == "scaffold" ? entry.Parameters : [.. entry.Parameters, .. Screening]
            : throw new SoraException($"There is no strategy '{name}'; known are {string.Join(", ", Names)}.", ExitCode.Usage);

    /// <summary>Creates a strategy.</summary>
    /// <exception cref="SoraException">The name or a parameter is not known, or a value is missing or out of range.</exception>
    public static ServerStrategy Create(string name, IReadOnlyDictionary<string, double>? parameters = null)
    {
        var known = ParametersOf(name);
        if (parameters?.Keys.FirstOrDefault(key => known.All(parameter => parameter.Name != key)) is { } unknown)
            throw new SoraException($"The strategy {name} has no parameter '{unknown}'; it has {string.Join(", ", known.Select(parameter => parameter.Name))}.", ExitCode.Usage);
        var values = new Values(known.ToDictionary(parameter => parameter.Name, parameter => Value(name, parameter, parameters)));
        var strategy = Known[name].Build(values);
        return name == "scaffold" ? strategy : strategy with { Screens = [.. ScreensOf(values), .. strategy.Screens] };
    }

    private static double Value(string strategy, StrategyParameter parameter, IReadOnlyDictionary<string, double>? given)
    {
        if (given is null || !given.TryGetValue(parameter.Name, out var value))
            return parameter.Default ?? throw new SoraException($"The strategy {strategy} needs {parameter.Name} ({parameter.Meaning}).", ExitCode.Usage);
        // Not (outside): a NaN must be refused too.
        return value >= parameter.Min && value <= parameter.Max && (!parameter.Integer || value == Math.Floor(value))
            ? value
            : throw new SoraException($"{parameter.Name} of the strategy {strategy} is {value}; it must be {(parameter.Integer ? "a whole number " : "")}"
                + $"between {parameter.Min} and {parameter.Max}.", ExitCode.Usage);
    }

    private static IEnumerable<IScreen> ScreensOf(Values values)
    {
        if (double.IsFinite(values["max_norm_ratio"]))
            yield return new NormOutliers(values["max_norm_ratio"]);
        if (values["min_cosine"] > -1)
            yield return new CosineOutliers(values["min_cosine"]);
        if (double.IsFinite(values["clipping_norm"]))
            yield return new NormClipping(values["clipping_norm"]);
    }

    private static ServerStrategy Adaptive(string name, SecondMoment moment, Values p) =>
        new(name, new AdaptiveOptimizer(moment, p["eta"], p["beta_1"], moment == SecondMoment.Adagrad ? 0 : p["beta_2"], p["tau"])) { SiteParameters = p.Only("eta_l") };

    private static StrategyParameter Eta(double value) => new("eta", value, Tiny, 1e6, "learning rate of the server");

    private static StrategyParameter Beta1(double value) => new("beta_1", value, 0, Below1, "decay of the first moment");

    private static StrategyParameter Beta2 => new("beta_2", 0.99, 0, Below1, "decay of the second moment");

    private static StrategyParameter Tau(double value) => new("tau", value, Tiny, 1e6, "degree of adaptivity");

    private sealed class Values(Dictionary<string, double> values)
    {
        public double this[string name] => values[name];

        public Dictionary<string, double> Only(string name) => new() { [name] = values[name] };
    }
}
