using System.CommandLine;
using Sora.Protocol.Jobs;

namespace Sora.Cli.Tokenizers;

/// <summary>The arguments that name text and a tokenizer, shared by the verbs that read text outside a job.</summary>
internal sealed class CorpusOptions
{
    private readonly Argument<string[]> _inputs = new("input")
    {
        Description = "Files, folders, globs (.txt, .md, .jsonl, .parquet, each also .gz or .zst), URLs or dotnet-docs.",
        Arity = ArgumentArity.OneOrMore,
    };

    private readonly Option<string> _tokenizer = new("--tokenizer")
    {
        Description = "byte, bpe (trained on the text), o200k, cl100k, or the path of a Hugging Face tokenizer.json.",
        HelpName = "KIND|PATH",
        DefaultValueFactory = _ => "bpe",
    };

    private readonly Option<int> _vocabSize = new("--vocab-size")
    {
        Description = "Entries of a trained vocabulary.",
        HelpName = "N",
        DefaultValueFactory = _ => new TokenizerSettings().VocabSize,
    };

    private readonly Option<string> _textField = new("--text-field")
    {
        Description = "The field of .jsonl and .parquet that holds the text.",
        HelpName = "NAME",
        DefaultValueFactory = _ => new DataSettings().TextField,
    };

    /// <summary>Adds the arguments to a verb.</summary>
    public void AddTo(Command verb, bool withTokenizer = true)
    {
        verb.Arguments.Add(_inputs);
        if (withTokenizer) verb.Options.Add(_tokenizer);
        verb.Options.Add(_vocabSize);
        verb.Options.Add(_textField);
    }

    /// <summary>What was given.</summary>
    /// <exception cref="SoraException">The size of the vocabulary cannot be had.</exception>
    public (DataSettings Data, TokenizerSettings Tokenizer) Read(ParseResult result)
    {
        var (tokenizer, size) = (Named(result.GetValue(_tokenizer) ?? "bpe"), result.GetValue(_vocabSize));
        if (tokenizer.Type != TokenizerKind.Bpe && result.GetResult(_vocabSize) is { Implicit: false })
            throw new SoraException($"--vocab-size is for a vocabulary that is trained, and {result.GetValue(_tokenizer)} brings its own. Leave it out, or use --tokenizer bpe.", ExitCode.Usage);
        if (size is < 257 or > 1_000_000)
            throw new SoraException($"--vocab-size is {size}: a byte-level BPE has from 257 to 1000000 entries.", ExitCode.Usage);
        return (new DataSettings { Train = result.GetRequiredValue(_inputs), TextField = result.GetRequiredValue(_textField) }, tokenizer with { VocabSize = size });
    }

    /// <summary>A tokenizer by its kind, or by the path of its file.</summary>
    public static TokenizerSettings Named(string text) =>
        Enum.TryParse<TokenizerKind>(text, ignoreCase: true, out var kind) && kind != TokenizerKind.File && !text.All(char.IsDigit)
            ? new TokenizerSettings { Type = kind }
            : new TokenizerSettings { Type = TokenizerKind.File, Path = text };
}
