namespace Sora.Federation.Aggregation.Updates;

/// <summary>How the numbers of an update are written. The values are part of the format.</summary>
public enum UpdateEncoding
{
    /// <summary>IEEE single precision, little endian: 4 bytes a parameter, exact.</summary>
    Float32 = 0,

    /// <summary>IEEE half precision, little endian: 2 bytes a parameter; off by at most 2^-11 of the value, or 2^-25 near zero.</summary>
    Float16 = 1,

    /// <summary>
    /// Blocks of <see cref="UpdateCodec.BlockValues"/> signed bytes behind one single-precision scale (the largest magnitude / 127):
    /// 1.016 bytes a parameter; off by at most half a scale (nearest rounding) or less than one (stochastic), and by 2e-43 where the scale itself is no normal number.
    /// </summary>
    Int8 = 2,
}

/// <summary>Which of the two neighbours on the grid a value becomes.</summary>
public enum RoundingMode
{
    /// <summary>The nearer one: the smallest error, but small values may vanish in every round alike.</summary>
    Nearest,

    /// <summary>Either, by seeded chance, so that the expected value is exact: errors of many sites and rounds cancel.</summary>
    Stochastic,
}
