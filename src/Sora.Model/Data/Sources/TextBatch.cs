namespace Sora.Model.Data.Sources;

/// <summary>A document or, when it is long, a part of one.</summary>
/// <param name="Text">The text.</param>
/// <param name="Utf8Bytes">Its size in UTF-8.</param>
/// <param name="EndsDocument">Whether the document ends here.</param>
internal readonly record struct TextPart(ReadOnlyMemory<char> Text, long Utf8Bytes, bool EndsDocument);

/// <summary>
/// A bounded share of an input, as cheap to make as possible: what costs time (checking UTF-8, parsing) happens in
/// <see cref="Decode"/>, which any thread may run.
/// </summary>
internal abstract class TextBatch
{
    /// <summary>Bytes of the input as it lies on disk that were read for this batch; for progress.</summary>
    public long InputBytes { get; init; }

    /// <summary>The text in it. Called once.</summary>
    public abstract IEnumerable<TextPart> Decode();
}

/// <summary>Documents that are strings already.</summary>
internal sealed class DocumentBatch(IReadOnlyList<string> documents) : TextBatch
{
    public override IEnumerable<TextPart> Decode() =>
        documents.Select(text => new TextPart(text.AsMemory(), System.Text.Encoding.UTF8.GetByteCount(text), EndsDocument: true));
}
