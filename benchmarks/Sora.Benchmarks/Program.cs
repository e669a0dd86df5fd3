using Sora.Benchmarks;

// One file a benchmark. Each prints a table whose first line says on what it was measured.
return args switch
{
    ["tokenize", .. var rest] => TokenizeBenchmark.Run(rest),
    ["gemm"] => GemmBenchmark.Run(),
    ["train", .. var rest] => TrainBenchmark.Run(rest),
    _ => Usage(),
};

static int Usage()
{
    Console.Error.WriteLine("""
        Usage: dotnet run -c Release --project benchmarks/Sora.Benchmarks -- VERB
          gemm                 GFLOP/s of fp32 matrix products, one thread
          train [gpt|llama]    tokens/s of one worker with one thread, and its share of the matrix rate
          tokenize [FILE...]   MB/s of one core: our tokenizers and Microsoft.ML.Tokenizers', on English prose (default: the .NET documentation files)
        """);
    return 2;
}
