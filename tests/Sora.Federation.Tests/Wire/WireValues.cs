using System.Collections.Immutable;
using System.Text.Json;
using System.Text.Json.Serialization;
using CsCheck;
using Sora.Federation.Rounds;
using Sora.Protocol.Jobs;

namespace Sora.Federation.Tests.Wire;

/// <summary>Any value of the types that travel.</summary>
internal static class WireValues
{
    private static readonly JsonSerializerOptions Options = new() { NumberHandling = JsonNumberHandling.AllowNamedFloatingPointLiterals };

    public static Gen<string> Name { get; } =
        Gen.Select(Gen.Char["abcXYZ019"], Gen.Char["abcXYZ019-_."].Array[0, 199]).Select((first, rest) => first + new string(rest));

    public static Gen<string> Reason { get; } = Gen.OneOfConst("", "plain", "größer als erlaubt", "日本語", "\0\n\u001b[31m", "🙂").Array[0, 20].Select(string.Concat);

    public static Gen<string> Sha256 { get; } = Gen.Char["0123456789abcdef"].Array[64].Select(digits => new string(digits));

    public static Gen<double> Number { get; } = Gen.OneOf(Gen.Double, Gen.OneOfConst(0d, -0d, double.NaN, double.PositiveInfinity, double.NegativeInfinity, double.Epsilon, double.MaxValue));

    public static Gen<double?> Optional { get; } = Gen.OneOf(Number.Select(number => (double?)number), Gen.Const((double?)null));

    public static Gen<int> Count { get; } = Gen.OneOf(Gen.Int[0, 100], Gen.Int[0, int.MaxValue]);

    public static Gen<long> Long { get; } = Gen.OneOf(Gen.Long[0, 100], Gen.Long[0, long.MaxValue]);

    public static Gen<TimeSpan> Duration { get; } = Long.Select(TimeSpan.FromTicks);

    public static Gen<RoundKey> Key { get; } = Gen.Select(Gen.Int[1, int.MaxValue], Gen.Int[1, int.MaxValue]).Select((round, attempt) => new RoundKey(round, attempt));

    public static Gen<ModelVersion> Model { get; } = Gen.Select(Count, Sha256).Select((number, hash) => new ModelVersion(number, hash));

    public static Gen<UpdateId> Id { get; } = Gen.Select(Key, Name, Sha256).Select((key, site, hash) => new UpdateId(key, site, hash));

    public static Gen<UpdateOffer> Offer { get; } = Gen.Select(Id, Long, Number, Number).Select((id, bytes, weight, loss) => new UpdateOffer(id, bytes, weight, loss));

    public static Gen<AcceptedUpdate> Accepted { get; } =
        Gen.Select(Id, Number, Number, Count, Number).Select((id, weight, loss, staleness, seconds) => new AcceptedUpdate(id, weight, loss, staleness, seconds));

    public static Gen<ChunkLayout> Chunks { get; } = Gen.OneOf(
        Gen.Select(Gen.Long[1, 1L << 40], Gen.Int[1 << 10, int.MaxValue]),
        Gen.Select(Gen.Long[1, 1000], Gen.Int[1, 10])).Select((parameters, chunk) => new ChunkLayout(parameters, chunk));

    public static Gen<ImmutableArray<string>> Names { get; } = Name.Array[0, 20].Select(names => names.ToImmutableArray());

    public static Gen<ImmutableSortedSet<string>> NameSet { get; } = Names.Select(names => names.ToImmutableSortedSet(StringComparer.Ordinal));

    public static Gen<SecureStage> Stage { get; } = Gen.Enum<SecureStage>();

    /// <summary>Settings that pass <see cref="FederationValidation"/>.</summary>
    public static Gen<FederationSettings> Settings { get; } =
        from asynchronous in Gen.Bool
        from rounds in Gen.Int[1, int.MaxValue]
        from steps in Gen.Int[0, 1000]
        from sites in Gen.Int[2, 1000]
        from quorum in Gen.Int[0, 1]
        from fraction in Gen.Double[0.01, 1]
        from deadline in Gen.Double[1, 10_000_000]
        from strategy in Gen.OneOfConst("fedavg", "fedavgm", "fedadam", "diloco")
        from rate in Gen.Double[0.001, 1000]
        from secure in Gen.Bool
        from quantization in Gen.Enum<UpdateQuantization>()
        from model in Gen.Enum<PrivacyModel>()
        from isPrivate in Gen.Bool
        select new FederationSettings
        {
            Mode = asynchronous ? FederationMode.Asynchronous : FederationMode.Synchronous,
            Rounds = rounds,
            LocalSteps = steps,
            LocalEpochs = steps == 0 ? 1 : 0,
            MinAvailableSites = sites,
            Quorum = quorum == 0 || asynchronous ? null : sites,
            FractionTrain = asynchronous ? 1 : fraction,
            EvalRounds = asynchronous ? 0 : 3,
            RoundDeadline = deadline,
            Strategy = new StrategySettings(asynchronous ? "fedbuff" : strategy) { Parameters = ImmutableSortedDictionary<string, double>.Empty.WithComparers(StringComparer.Ordinal).Add("server_learning_rate", rate) },
            Quantization = secure && !asynchronous ? UpdateQuantization.Fp32 : quantization,
            SecureAggregation = secure && !asynchronous ? new SecureAggregationSettings(0.75, deadline / 10 + 1) : null,
            DifferentialPrivacy = isPrivate ? new DifferentialPrivacySettings(model, NoiseMultiplier: rate) : null,
        };

    public static Gen<FederatedRun> Run { get; } =
        Gen.Select(Name, Gen.Long, Model, Chunks, Settings).Select((run, seed, model, chunks, settings) => new FederatedRun(run, seed, model, chunks, settings));

    public static Gen<ToSite> ToSite { get; } = Gen.OneOf(
        Gen.Select(Gen.Select(Name, Key, Model), Gen.Select(Count, Count, Duration), Chunks, Gen.Bool)
            .Select((what, how, chunks, secure) => (ToSite)new RoundAnnounced(what.Item1, what.Item2, what.Item3, how.Item1, how.Item2, how.Item3, chunks, secure)),
        Gen.Select(Name, Key, Stage, Names, Duration).Select((run, key, stage, names, deadline) => (ToSite)new StageOpened(run, key, stage, names, deadline)),
        Gen.Select(Name, Id, Count).Select((run, id, chunk) => (ToSite)new UploadFrom(run, id, chunk)),
        Gen.Select(Name, Id).Select((run, id) => (ToSite)new UpdateAcknowledged(run, id)),
        Gen.Select(Name, Id, Reason).Select((run, id, reason) => (ToSite)new UpdateRefused(run, id, reason)),
        Gen.Select(Name, Key, Reason).Select((run, key, reason) => (ToSite)new RoundOver(run, key, reason)),
        Gen.Select(Name, Model).Select((run, model) => (ToSite)new EvaluateModel(run, model)),
        Gen.Select(Name, Reason, Gen.Int[0, 255]).Select((run, reason, code) => (ToSite)new Dismissed(run, reason, code)));

    public static Gen<FromSite> FromSite { get; } = Gen.OneOf(
        Gen.Select(Gen.Select(Name, Name, Name), Reason, Gen.OneOf(Key.Select(key => (RoundKey?)key), Gen.Const((RoundKey?)null)), Gen.Bool)
            .Select((who, unfit, key, draining) => (FromSite)new SiteHello(who.Item1, who.Item2, who.Item3, unfit, key, draining)),
        Gen.Select(Name, Key).Select((run, key) => (FromSite)new RoundAccepted(run, key)),
        Gen.Select(Name, Key, Reason, Gen.Bool).Select((run, key, reason, forJob) => (FromSite)new RoundRefused(run, key, reason, forJob)),
        Gen.Select(Name, Key, Reason).Select((run, key, reason) => (FromSite)new RoundFailed(run, key, reason)),
        Gen.Select(Name, Key, Stage).Select((run, key, stage) => (FromSite)new StageAnswered(run, key, stage)),
        Gen.Select(Name, Offer).Select((run, offer) => (FromSite)new UpdateOffered(run, offer)),
        Gen.Select(Name, Count, Number, Number).Select((run, version, loss, examples) => (FromSite)new ModelEvaluated(run, version, loss, examples)),
        Name.Select(run => (FromSite)new SiteDraining(run)));

    public static Gen<RoundDecision> Decision { get; } = Gen.OneOf(
        Run.Select(run => (RoundDecision)new FederationAccepted(run)),
        Gen.Const((RoundDecision)new FederationTakenUp()),
        Gen.Select(Key, Model, Names, Count, Count).Select((key, model, names, target, quorum) => (RoundDecision)new RoundOpened(key, model, new Cohort(names, target, quorum))),
        Gen.Select(Key, Number).Select((key, epsilon) => (RoundDecision)new BudgetGranted(key, epsilon)),
        Accepted.Select(update => (RoundDecision)new UpdateAccepted(update)),
        Gen.Select(Key, Accepted.Array[0, 20]).Select((key, updates) => (RoundDecision)new RoundClosed(key, [.. updates])),
        Gen.Select(Key, Reason, NameSet, NameSet).Select((key, reason, missing, declined) => (RoundDecision)new RoundAbandoned(key, reason, missing, declined)),
        Gen.Select(Key, Model, Number).Select((key, model, loss) => (RoundDecision)new ModelCommitted(key, model, loss)),
        Key.Select(key => (RoundDecision)new BudgetClosed(key)),
        Gen.Select(Count, Optional).Select((version, loss) => (RoundDecision)new EvaluationClosed(version, loss)),
        Gen.Select(Name, Reason).Select((site, reason) => (RoundDecision)new SiteBarred(site, reason)),
        Name.Select(site => (RoundDecision)new SiteUnbarred(site)),
        Reason.Select(reason => (RoundDecision)new FederationStopDecided(reason)),
        Gen.Select(Count, Sha256, Optional, Optional, Optional)
            .Select((rounds, hash, loss, evalLoss, epsilon) => (RoundDecision)new FederationEnded(new FederationFinished(rounds, hash, loss, evalLoss, epsilon))),
        Gen.Select(Count, Sha256, Reason).Select((round, hash, reason) => (RoundDecision)new FederationEnded(new FederationStopped(round, hash, reason))),
        Gen.Select(Count, Reason, Gen.Int[0, 255]).Select((round, message, code) => (RoundDecision)new FederationEnded(new FederationFailed(round, "", message, code))));

    public static Gen<RoundSiteDecision> SiteDecision { get; } = Gen.OneOf(
        Key.Select(key => (RoundSiteDecision)new RoundTaken(key)),
        Offer.Select(offer => (RoundSiteDecision)new UpdateReady(offer)),
        Key.Select(key => (RoundSiteDecision)new RoundLeft(key)));

    /// <summary>All of a value, as lists compare by identity.</summary>
    public static string Shown(object value) =>
        value is FederationEnded ended ? Shown(ended.Outcome) : value.GetType().Name + JsonSerializer.Serialize(value, value.GetType(), Options);

    /// <summary>Every kind of a closed family of messages.</summary>
    public static IEnumerable<Type> Kinds<T>() => typeof(T).Assembly.GetTypes().Where(type => type.IsSubclassOf(typeof(T)) && !type.IsAbstract);
}
