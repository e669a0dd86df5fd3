using System.Buffers;
using System.Diagnostics;
using System.Runtime.InteropServices;
using System.Text;
using Microsoft.ML.Tokenizers;
using Sora.Model.Tokenization;
using Sora.Protocol.Jobs;

namespace Sora.Benchmarks;

/// <summary>How fast text becomes ids, on one thread. The aim: at least 10 MB/s on English. Where others use the machine too, MB per second of CPU time is the truer figure.</summary>
internal static class TokenizeBenchmark
{
    private const int Characters = 8_000_000;
    private const int Rounds = 5;

    public static int Run(string[] files)
    {
        IReadOnlyList<string> documents = files.Length > 0 ? [.. files.Select(File.ReadAllText)] : DocumentationProse.Read(Characters);
        var bytes = documents.Sum(document => (long)Encoding.UTF8.GetByteCount(document));
        Console.WriteLine($"{bytes / 1e6:F1} MB in {documents.Count} documents, one thread, best of {Rounds} rounds after one to warm up");
        Console.WriteLine($"{RuntimeInformation.FrameworkDescription}, {RuntimeInformation.RuntimeIdentifier}, {Environment.ProcessorCount} cores");

        var clock = Stopwatch.StartNew();
        var bpe = TokenizerFiles.Create(new TokenizerSettings { Type = TokenizerKind.Bpe, VocabSize = 4096 }, () => documents);
        Console.WriteLine($"training bpe (4096 entries): {clock.Elapsed.TotalSeconds:F2} s");
        Console.WriteLine();
        Console.WriteLine($"{"tokenizer",-34}{"MB/s",8}{"MB/CPU s",10}{"bytes/token",13}{"ratio",8}");
        Compare("bpe 4096", documents, bytes, bpe, LibraryBpe(bpe));
        Compare("o200k", documents, bytes, Open(TokenizerKind.O200k), TiktokenTokenizer.CreateForEncoding("o200k_base"));
        Compare("cl100k", documents, bytes, Open(TokenizerKind.Cl100k), TiktokenTokenizer.CreateForEncoding("cl100k_base"));
        Measure("byte", documents, bytes, 0, Encoder(new ByteTokenizer()));
        return 0;
    }

    private static void Compare(string name, IReadOnlyList<string> documents, long bytes, ITokenizer ours, Tokenizer theirs)
    {
        var library = Measure(name + ", Microsoft.ML.Tokenizers", documents, bytes, 0, text => theirs.EncodeToIds(text, considerPreTokenization: true, considerNormalization: false).Count);
        Measure(name + ", ours", documents, bytes, library, Encoder(ours));
    }

    private static double Measure(string name, IReadOnlyList<string> documents, long bytes, double reference, Func<string, long> encode)
    {
        double best = 0, bestOfCpu = 0;
        var tokens = 0L;
        for (var round = 0; round <= Rounds; round++)
        {
            var cpu = Environment.CpuUsage.TotalTime;
            var clock = Stopwatch.StartNew();
            tokens = documents.Sum(encode);
            if (round == 0) continue;
            best = Math.Max(best, bytes / 1e6 / clock.Elapsed.TotalSeconds);
            bestOfCpu = Math.Max(bestOfCpu, bytes / 1e6 / (Environment.CpuUsage.TotalTime - cpu).TotalSeconds);
        }
        var ratio = reference > 0 ? $"{bestOfCpu / reference:F1}x" : "";
        Console.WriteLine($"{name,-34}{best,8:F1}{bestOfCpu,10:F1}{(double)bytes / tokens,13:F2}{ratio,8}");
        return bestOfCpu;
    }

    private static Func<string, long> Encoder(ITokenizer tokenizer)
    {
        var ids = new ArrayBufferWriter<int>(1 << 20);
        return text =>
        {
            ids.ResetWrittenCount();
            tokenizer.Encode(text, ids);
            return ids.WrittenCount;
        };
    }

    private static ITokenizer Open(TokenizerKind kind) => TokenizerFiles.Create(new TokenizerSettings { Type = kind }, () => []);

    private static Tokenizer LibraryBpe(ITokenizer bpe)
    {
        var folder = Directory.CreateTempSubdirectory("sora-benchmark-");
        try
        {
            bpe.Save(folder.FullName);
            return LibraryTokenizer.Read(Path.Combine(folder.FullName, "tokenizer.json"));
        }
        finally
        {
            folder.Delete(recursive: true);
        }
    }
}
