using Sora.Benchmarks;

// One file a benchmark. Each prints a table whose first line says on what it was measured.
return args switch
{
    ["tokenize", .. var rest] => TokenizeBenchmark.Run(rest),
    _ => Usage(),
};

static int Usage()
{
    Console.Error.WriteLine("""
        Usage: dotnet run -c Release --project benchmarks/Sora.Benchmarks -- VERB
          tokenize [FILE...]   MB/s of one core: our tokenizers and Microsoft.ML.Tokenizers', on English prose (default: the .NET documentation files)
        """);
    return 2;
}
