namespace Sora.Coordinator.Federations;

/// <summary>The shard region of <see cref="FederationEntity"/>. A run's id tells which region it belongs to.</summary>
internal static class FederationRegion
{
    public const string TypeName = "federation";

    /// <summary>What the ids of federated runs begin with.</summary>
    public const string RunPrefix = "fed-";

    /// <summary>What their names in the journal begin with.</summary>
    public const string PersistencePrefix = "federation-";

    public static bool Owns(string run) => run.StartsWith(RunPrefix, StringComparison.Ordinal);
}
