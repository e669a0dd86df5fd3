namespace Sora.Protocol.Jobs;

/// <summary>When a round ends.</summary>
public enum FederationMode
{
    /// <summary>A cohort trains on the same model; the round closes by quorum and deadline.</summary>
    Synchronous,
    /// <summary>Everybody trains all the time; a round is a buffer of so many updates (FedBuff, Nguyen et al. 2022).</summary>
    Asynchronous,
}

/// <summary>The numbers an update travels in.</summary>
public enum UpdateQuantization
{
    /// <summary>32-bit floating point: as computed.</summary>
    Fp32,
    /// <summary>16-bit floating point.</summary>
    Fp16,
    /// <summary>8-bit integers with a scale a block.</summary>
    Int8,
}

/// <summary>Who adds the noise.</summary>
public enum PrivacyModel
{
    /// <summary>The coordinator, which sees the sum.</summary>
    Central,
    /// <summary>Each site, before anything leaves it.</summary>
    Local,
}
