namespace Sora.Cli.Doctor;

/// <summary>How bad a finding is.</summary>
internal enum Verdict
{
    /// <summary>As it should be.</summary>
    Good,
    /// <summary>Works, but something is slower or missing.</summary>
    Note,
    /// <summary>Training cannot work like this.</summary>
    Bad,
}

/// <summary>What the doctor found.</summary>
/// <param name="Subject">What was looked at.</param>
/// <param name="Verdict">How bad it is.</param>
/// <param name="Fact">What is there.</param>
/// <param name="Advice">What to do; null when nothing.</param>
internal sealed record Finding(string Subject, Verdict Verdict, string Fact, string? Advice = null)
{
    /// <summary>Looks, and makes what goes wrong a finding.</summary>
    public static Finding Of(string subject, string advice, Func<Finding> look)
    {
        try
        {
            return look();
        }
        catch (Exception e)
        {
            return new Finding(subject, Verdict.Bad, e.Message, advice);
        }
    }
}
