namespace Sora.Model.Data;

/// <summary>What a preparation is doing.</summary>
public enum PreparePhase
{
    /// <summary>Looking for inputs, or waiting for another run that prepares the same corpus.</summary>
    Finding,
    /// <summary>Downloading a URL.</summary>
    Downloading,
    /// <summary>Training a tokenizer.</summary>
    TrainingTokenizer,
    /// <summary>Turning text into tokens.</summary>
    Encoding,
    /// <summary>Hashing what was written.</summary>
    Hashing,
    /// <summary>The corpus is there.</summary>
    Done,
}

/// <summary>How far a preparation is.</summary>
/// <param name="Phase">What it is doing.</param>
/// <param name="Bytes">Input bytes read (or downloaded, or hashed) so far in this phase.</param>
/// <param name="TotalBytes">All of them; 0 when not known.</param>
/// <param name="Documents">Documents so far.</param>
/// <param name="Tokens">Tokens so far.</param>
/// <param name="Message">Something to tell the user; null: nothing.</param>
public sealed record PrepareProgress(PreparePhase Phase, long Bytes = 0, long TotalBytes = 0, long Documents = 0, long Tokens = 0, string? Message = null);
