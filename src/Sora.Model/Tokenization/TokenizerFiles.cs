using Sora.Protocol.Jobs;

namespace Sora.Model.Tokenization;

/// <summary>Makes tokenizers: from a job's settings, or from the files a corpus, a checkpoint or a Hugging Face model carries.</summary>
public static class TokenizerFiles
{
    /// <summary>The tokenizer a job asks for. Training (kind <c>bpe</c>) reads <paramref name="documents"/>; the other kinds do not call it.</summary>
    /// <exception cref="SoraException">The settings or the file they name cannot be used.</exception>
    public static ITokenizer Create(TokenizerSettings settings, Func<IEnumerable<string>> documents, CancellationToken cancellationToken = default) => settings.Type switch
    {
        TokenizerKind.Byte => new ByteTokenizer(),
        TokenizerKind.Bpe => BpeTrainer.Train(documents(), new BpeTrainerOptions { VocabSize = settings.VocabSize }, cancellationToken),
        TokenizerKind.O200k => OpenAiTokenizer.Create(OpenAiTokenizer.O200k),
        TokenizerKind.Cl100k => OpenAiTokenizer.Create(OpenAiTokenizer.Cl100k),
        TokenizerKind.File when settings.Path.Length == 0 => throw new SoraException(
            "tokenizer.type is file, but tokenizer.path is empty. Set tokenizer.path to a tokenizer.json or to the folder that holds one.", ExitCode.Usage),
        TokenizerKind.File => Load(settings.Path),
        _ => throw new SoraException($"Tokenizer type {settings.Type} is not known. Use byte, bpe, o200k, cl100k or file.", ExitCode.Usage),
    };

    /// <summary>Reads a <c>tokenizer.json</c>, given itself or the folder that holds it: one of ours, or any Hugging Face BPE.</summary>
    /// <exception cref="SoraException">There is none, it is damaged, or it uses something that cannot be reproduced exactly; the message names it.</exception>
    public static ITokenizer Load(string path)
    {
        var file = Path.GetFullPath(Directory.Exists(path) ? Path.Combine(path, TokenizerJson.FileName) : path);
        if (!File.Exists(file))
            throw new SoraException($"No tokenizer at {path}: {file} does not exist. Give a tokenizer.json or the folder that holds one.", ExitCode.InvalidInput);
        var configFile = Path.Combine(Path.GetDirectoryName(file)!, TokenizerJson.ConfigFileName);
        var files = new TokenizerFileBytes(File.ReadAllBytes(file), File.Exists(configFile) ? File.ReadAllBytes(configFile) : null);
        return TokenizerJsonReader.Read(files, file);
    }

    /// <summary>Writes what <see cref="Load"/> reads into a folder, creating it.</summary>
    public static void Save(ITokenizer tokenizer, string folder) => tokenizer.Save(folder);
}
