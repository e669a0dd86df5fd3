using Sora.Benchmarks;

// One file a benchmark. Each prints a table whose first line says on what it was measured.
return args switch
{
    ["tokenize", .. var rest] => TokenizeBenchmark.Run(rest),
    ["exchange", .. var rest] => ExchangeBenchmark.Run(rest),
    _ => Usage(),
};

static int Usage()
{
    Console.Error.WriteLine("""
        Usage: dotnet run -c Release --project benchmarks/Sora.Benchmarks -- VERB
          exchange [MB...]     MB/s of an all-reduce between two workers over Unix sockets and TCP, beside bare sockets (default: 21 and 100 MB)
          tokenize [FILE...]   MB/s of one core: our tokenizers and Microsoft.ML.Tokenizers', on English prose (default: the .NET documentation files)
        """);
    return 2;
}
