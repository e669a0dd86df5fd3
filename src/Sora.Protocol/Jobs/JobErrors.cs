namespace Sora.Protocol.Jobs;

/// <summary>One thing wrong with a job.</summary>
/// <param name="Key">The dotted key, or null when the whole file is meant.</param>
/// <param name="Origin">Where it was written; null for a default.</param>
/// <param name="Message">What is wrong and what to do.</param>
public sealed record JobError(string? Key, JobOrigin? Origin, string Message)
{
    /// <inheritdoc/>
    public override string ToString() => Origin is { } origin ? $"{origin}: {Message}" : Message;
}

/// <summary>Everything wrong with a job, told at once so that the user mends it in one go.</summary>
public sealed class JobErrors : SoraException
{
    /// <summary>Creates the exception.</summary>
    /// <param name="errors">The errors, in the order of the file.</param>
    /// <param name="noun">What has them: "job", or another kind of file.</param>
    public JobErrors(IReadOnlyList<JobError> errors, string noun = "job") : base(Describe(errors), Jobs.ExitCode.Usage) => (Errors, Noun) = (errors, noun);

    /// <summary>The errors, in the order of the file.</summary>
    public IReadOnlyList<JobError> Errors { get; }

    /// <summary>What has the errors, for a headline.</summary>
    public string Noun { get; }

    private static string Describe(IReadOnlyList<JobError> errors) => string.Join('\n', errors);
}
