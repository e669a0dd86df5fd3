namespace Sora.Protocol.Jobs;

/// <summary>Where the user wrote something: a line of the job file, an environment variable or an argument.</summary>
/// <param name="Source">The file's path, or the variable or argument as typed.</param>
/// <param name="Line">Line from 1; 0 where there are no lines.</param>
/// <param name="Column">Column from 1.</param>
public readonly record struct JobOrigin(string Source, long Line = 0, long Column = 0)
{
    /// <summary><c>file:line:column</c>, which terminals and editors can open.</summary>
    public override string ToString() => Line > 0 ? $"{Source}:{Line}:{Column}" : Source;
}
