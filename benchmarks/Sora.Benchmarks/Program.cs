using Sora.Benchmarks;
using Sora.Benchmarks.Soak;

// One file a benchmark. Each prints a table whose first line says on what it was measured.
return args switch
{
    ["tokenize", .. var rest] => TokenizeBenchmark.Run(rest),
    ["exchange", .. var rest] => ExchangeBenchmark.Run(rest),
    ["state", .. var rest] => StateBenchmark.Run(rest),
    ["gemm"] => GemmBenchmark.Run(),
    ["train", .. var rest] => TrainBenchmark.Run(rest),
    ["scaling", .. var rest] => ScalingBenchmark.Run(rest),
    ["recovery", .. var rest] => RecoveryBenchmark.Run(rest),
    ["times", .. var rest] => await TimesBenchmark.RunAsync(rest),
    ["limits", .. var rest] => await LimitsBenchmark.RunAsync(rest),
    ["soak", .. var rest] => await SoakBenchmark.RunAsync(rest),
    ["checkpoint", .. var rest] => CheckpointBenchmark.Run(rest),
    _ => Usage(),
};

static int Usage()
{
    Console.Error.WriteLine("""
        Usage: dotnet run -c Release --project benchmarks/Sora.Benchmarks -- VERB
          exchange [MB...]     MB/s of an all-reduce between two workers over Unix sockets and TCP, beside bare sockets (default: 21 and 100 MB)
          state [MB [HOLDERS...]]  MB/s at which a joiner takes over the state from the memory of 1, 2, 3 holders, over Unix sockets and TCP (default: 400 MB)
          gemm                 GFLOP/s of fp32 matrix products, one thread
          train [gpt|llama]    tokens/s of one worker with one thread, and its share of the matrix rate
          scaling [ROUNDS [STEPS]]  one run of two workers beside two independent runs
          recovery [KILLS]     from kill -9 of one of four workers to the next committed step, and what a worker that joins costs the others
          times [ROUNDS]       what SIGTERM of a worker costs, and kill -9 of one of three coordinators on PostgreSQL
          limits [WORKERS [SESSIONS]]  what a generation of 1000 workers and 10000 idle sessions cost a coordinator
          soak [MINUTES [SEED]]  a run with a fault every 15-30 s (default: 30 minutes): throughput, and whether the result is that of an undisturbed run
          checkpoint [FOLDER]  how long the training loop stands still for a checkpoint, written beside it and with it waiting
          tokenize [FILE...]   MB/s of one core: our tokenizers and Microsoft.ML.Tokenizers', on English prose (default: the .NET documentation files)
        """);
    return 2;
}
