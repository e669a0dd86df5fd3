namespace Sora.Protocol.Jobs;

/// <summary>
/// A job as the user wrote it, with every default filled in: immutable and validated once.
/// Together with the corpus it determines the weights; keys that cannot change them say so with <see cref="JobKeyAttribute.Effect"/>.
/// </summary>
public sealed record TrainingJob
{
    /// <summary>A short name, used in logs and as the default output folder.</summary>
    [JobKey("short name of the job", Effect = JobEffect.None)]
    public string Name { get; init; } = "run";

    /// <summary>What to read.</summary>
    [JobKey("the text to train on", Effect = JobEffect.Corpus, Shorthand = "train")]
    public DataSettings Data { get; init; } = new();

    /// <summary>How text becomes tokens.</summary>
    [JobKey("how text becomes tokens", Effect = JobEffect.Corpus, Shorthand = "type")]
    public TokenizerSettings Tokenizer { get; init; } = new();

    /// <summary>The network.</summary>
    [JobKey("the network", Shorthand = "type")]
    public ModelSettings Model { get; init; } = new();

    /// <summary>Adapters to train in place of the network's own weights.</summary>
    [JobKey("adapters trained in place of the network's own weights", Shorthand = "r")]
    public LoraSettings Lora { get; init; } = new();

    /// <summary>A checkpoint, the output folder of a run or a Hugging Face folder to begin with; empty: random weights.</summary>
    [JobKey("checkpoint, output folder of a run or Hugging Face folder to begin with; empty: random weights", Effect = JobEffect.None, IsPath = true)]
    public string BaseModel { get; init; } = "";

    /// <summary>Identity of the weights in <see cref="BaseModel"/>: filled in when the job is submitted, and proven wherever they are read.</summary>
    [JobKey("identity of the weights in base_model; filled in when it is left out")]
    public string BaseModelSha256 { get; init; } = "";

    /// <summary>Rounds of sites that keep their data.</summary>
    [JobKey("federated training: sites keep their data and send updates only", Shorthand = "rounds")]
    public FederatedSection Federated { get; init; } = new();

    /// <summary>Folder for checkpoints, logs and the loss curve: relative to the working directory, because results belong where the user stands.</summary>
    [JobKey("folder for checkpoints, logs and pictures, relative to the working directory", Effect = JobEffect.None)]
    public string OutputDir { get; init; } = "";

    /// <summary>Seeds initial weights, data order and dropout.</summary>
    [JobKey("seed of initial weights, data order and dropout")]
    public long Seed { get; init; } = 42;

    /// <summary>Tokens a sample's input holds.</summary>
    [JobKey("tokens per sample")]
    public int ContextLength { get; init; } = 256;

    /// <summary>Virtual data-parallel ranks: fixed for the run, whoever owns them.</summary>
    [JobKey("virtual data-parallel ranks; at least as many as workers")]
    public int Lanes { get; init; } = 4;

    /// <summary>Samples in one forward/backward pass.</summary>
    [JobKey("samples in one forward/backward pass", Name = "per_device_train_batch_size", Aliases = ["micro_batch_size"])]
    public int MicroBatchSize { get; init; } = 8;

    /// <summary>Forward/backward passes a lane accumulates in one step.</summary>
    [JobKey("passes a lane accumulates in one step", Name = "gradient_accumulation_steps", Aliases = ["micro_batches_per_lane"])]
    public int MicroBatchesPerLane { get; init; } = 1;

    /// <summary>Optimizer updates to make.</summary>
    [JobKey("optimizer updates to make")]
    public int MaxSteps { get; init; } = 1000;

    /// <summary>Workers that share the run; null: one a core (CPU) or one a GPU, at most <see cref="Lanes"/>.</summary>
    [JobKey("workers: N (goes on with whoever is left) or MIN:MAX (waits below MIN); default one a core or GPU", Effect = JobEffect.None)]
    public WorkerRange? Workers { get; init; }

    /// <summary>How often <c>sora train</c> starts workers of this machine again that died, all together; null or -1: as often as it takes.</summary>
    [JobKey("how often dead workers of this machine are started again, all together; 0: never, -1: as often as it takes", Effect = JobEffect.None)]
    public int? MaxRestarts { get; init; }

    /// <summary>libtorch threads in each worker: part of the numerics.</summary>
    [JobKey("libtorch threads in each worker")]
    public int ThreadsPerWorker { get; init; } = 1;

    /// <summary><c>auto</c>, <c>cpu</c>, <c>cuda</c> or <c>cuda:N</c>.</summary>
    [JobKey("auto, cpu, cuda or cuda:N")]
    public string Device { get; init; } = "auto";

    /// <summary><c>fp32</c> or <c>bf16</c> (bf16 compute, fp32 master weights).</summary>
    [JobKey("fp32 or bf16 (bf16 compute, fp32 master weights)")]
    public Precision Dtype { get; init; } = Precision.Fp32;

    /// <summary>Allow TF32 matrix products on CUDA.</summary>
    [JobKey("allow TF32 matrix products on CUDA")]
    public bool Tf32 { get; init; } = true;

    /// <summary>Recompute activations in backward instead of keeping them.</summary>
    [JobKey("recompute activations in backward to save memory")]
    public bool GradientCheckpointing { get; init; }

    /// <summary>What happens to a worker whose numerics differ.</summary>
    [JobKey("strict refuses a worker whose numerics differ, warn lets it in and marks the run")]
    public NumericsPolicy Numerics { get; init; } = NumericsPolicy.Strict;

    /// <summary>Which optimizer.</summary>
    [JobKey("sgd, momentum, adam, adamw or adadelta")]
    public OptimizerKind Optim { get; init; } = OptimizerKind.AdamW;

    /// <summary>Peak learning rate.</summary>
    [JobKey("peak learning rate", Aliases = ["lr"])]
    public double LearningRate { get; init; } = 1e-3;

    /// <summary>Shape of the learning rate after warm-up.</summary>
    [JobKey("constant, linear or cosine")]
    public SchedulerKind LrSchedulerType { get; init; } = SchedulerKind.Cosine;

    /// <summary>Steps of linear warm-up; below 1 a share of <see cref="MaxSteps"/>.</summary>
    [JobKey("steps of linear warm-up; below 1 a share of max_steps")]
    public double WarmupSteps { get; init; }

    /// <summary>Learning rate at the end of linear and cosine schedules.</summary>
    [JobKey("learning rate at the end of linear and cosine schedules")]
    public double MinLearningRate { get; init; }

    /// <summary>Decoupled (adamw) or L2 (others) weight decay, on matrices only.</summary>
    [JobKey("weight decay, on matrices only")]
    public double WeightDecay { get; init; } = 0.1;

    /// <summary>Adam's first decay rate.</summary>
    [JobKey("Adam's first decay rate", Name = "adam_beta1")]
    public double AdamBeta1 { get; init; } = 0.9;

    /// <summary>Adam's second decay rate.</summary>
    [JobKey("Adam's second decay rate", Name = "adam_beta2")]
    public double AdamBeta2 { get; init; } = 0.95;

    /// <summary>Added to the denominator by Adam (and Adadelta).</summary>
    [JobKey("added to the denominator by Adam and Adadelta")]
    public double AdamEpsilon { get; init; } = 1e-8;

    /// <summary>Momentum of <see cref="OptimizerKind.Momentum"/>.</summary>
    [JobKey("momentum of optim: momentum")]
    public double Momentum { get; init; } = 0.9;

    /// <summary>Decay rate of Adadelta's running averages.</summary>
    [JobKey("decay rate of Adadelta's running averages")]
    public double AdadeltaRho { get; init; } = 0.9;

    /// <summary>Gradients longer than this are scaled down to it; 0 turns clipping off.</summary>
    [JobKey("clip gradients to this global norm; 0 turns it off")]
    public double MaxGradNorm { get; init; } = 1.0;

    /// <summary>Evaluate every so many steps; 0: only at the end.</summary>
    [JobKey("evaluate every so many steps; 0: only at the end", Effect = JobEffect.None)]
    public int EvalSteps { get; init; }

    /// <summary>Validation micro-batches an evaluation reads at most; 0: all.</summary>
    [JobKey("validation batches an evaluation reads at most; 0: all", Effect = JobEffect.None)]
    public int MaxEvalBatches { get; init; } = 32;

    /// <summary>Checkpoint every so many steps; 0: only at the end.</summary>
    [JobKey("checkpoint every so many steps; 0: only at the end", Effect = JobEffect.None)]
    public int SaveSteps { get; init; }

    /// <summary>Checkpoints to keep; 0: all.</summary>
    [JobKey("checkpoints to keep; 0: all", Effect = JobEffect.None)]
    public int SaveTotalLimit { get; init; } = 3;

    /// <summary><c>s3://bucket/prefix</c>: checkpoints go there, and the output folder keeps the newest one only; empty: the output folder.</summary>
    [JobKey("s3://bucket/prefix where checkpoints go; empty: the output folder", Effect = JobEffect.None)]
    public string SaveTo { get; init; } = "";

    /// <summary>Write checkpoints beside the training, from a copy of the state in host memory; otherwise training waits for the disk.</summary>
    [JobKey("write checkpoints beside the training, from a copy in host memory; false: training waits for the disk", Effect = JobEffect.None)]
    public bool SaveAsync { get; init; } = true;

    /// <summary>Largest file of weights or optimizer state in a checkpoint, as <see cref="ByteSize"/> reads it; what is more goes into several.</summary>
    [JobKey("largest file of weights in a checkpoint: 5GB, 500MB or bytes; more goes into several files", Effect = JobEffect.None)]
    public string MaxShardSize { get; init; } = "5GB";

    /// <summary>Report a step every so many steps.</summary>
    [JobKey("report every so many steps", Effect = JobEffect.None)]
    public int LoggingSteps { get; init; } = 1;

    /// <summary>Prompts continued at the end of the run.</summary>
    [JobKey("prompts continued when the run ends", Effect = JobEffect.None)]
    public IReadOnlyList<string> SamplePrompts { get; init; } = [];

    /// <summary>Compare a hash of weights and optimizer state between the workers every so many steps; 0: never.</summary>
    [JobKey("compare the workers' weights and optimizer state every so many steps; 0: never", Effect = JobEffect.None)]
    public int VerifySteps { get; init; } = 100;

    /// <summary>What happens to a worker that is much slower than the others.</summary>
    [JobKey("warn names a worker that is slower than the others, replace also moves lanes away from it, ignore does nothing", Effect = JobEffect.None)]
    public StragglerPolicy Straggler { get; init; } = StragglerPolicy.Warn;

    /// <summary>How many times as long as the median worker one may need for a lane.</summary>
    [JobKey("times the median compute time from which a worker counts as slow", Effect = JobEffect.None)]
    public double StragglerFactor { get; init; } = 1.5;

    /// <summary>For how long it must be slow.</summary>
    [JobKey("seconds a worker must be slow before anything is said or done", Effect = JobEffect.None)]
    public double StragglerSeconds { get; init; } = 30;

    /// <summary>Seconds without progress of a peer after which a worker gives up.</summary>
    [JobKey("seconds a worker waits for a silent peer", Effect = JobEffect.None)]
    public double DdpTimeout { get; init; } = 120;

    /// <summary>Samples a step sees.</summary>
    public long GlobalBatchSize => (long)Lanes * MicroBatchesPerLane * MicroBatchSize;

    /// <summary>Tokens a step sees.</summary>
    public long TokensPerStep => GlobalBatchSize * ContextLength;
}

/// <summary>The text to train on.</summary>
public sealed record DataSettings
{
    /// <summary>Files, folders, globs, URLs, <c>dotnet-docs</c> or <c>dotnet-docs:ASSEMBLIES</c>; or one folder made by <c>sora data prepare</c>.</summary>
    [JobKey("files, folders, globs, URLs, dotnet-docs, or a folder made by 'sora data prepare'", Effect = JobEffect.Corpus, IsPath = true)]
    public IReadOnlyList<string> Train { get; init; } = [];

    /// <summary>The JSON or Parquet field that holds the text.</summary>
    [JobKey("the .jsonl or .parquet field that holds the text", Effect = JobEffect.Corpus)]
    public string TextField { get; init; } = "text";

    /// <summary>Share of documents kept out of training for evaluation.</summary>
    [JobKey("share of documents held out for evaluation", Effect = JobEffect.Corpus)]
    public double ValidationSplit { get; init; } = 0.01;

    /// <summary>Where prepared corpora are kept; empty: the user's cache folder.</summary>
    [JobKey("where prepared corpora are kept", Effect = JobEffect.None, IsPath = true)]
    public string CacheDir { get; init; } = "";

    /// <summary>Bound of a worker's on-disk block cache, in bytes.</summary>
    [JobKey("bound of a worker's on-disk block cache, in bytes", Effect = JobEffect.None)]
    public long BlockCacheBytes { get; init; } = 4L << 30;
}

/// <summary>How text becomes tokens.</summary>
public sealed record TokenizerSettings
{
    /// <summary><c>byte</c>, <c>bpe</c> (trained on the corpus), <c>o200k</c>, <c>cl100k</c> or <c>file</c>.</summary>
    [JobKey("byte, bpe (trained on the corpus), o200k, cl100k or file", Effect = JobEffect.Corpus)]
    public TokenizerKind Type { get; init; } = TokenizerKind.Bpe;

    /// <summary>Entries of a trained vocabulary.</summary>
    [JobKey("entries of a trained vocabulary", Effect = JobEffect.Corpus)]
    public int VocabSize { get; init; } = 4096;

    /// <summary>A Hugging Face <c>tokenizer.json</c>, for <see cref="TokenizerKind.File"/>.</summary>
    [JobKey("a Hugging Face tokenizer.json, for type: file", Effect = JobEffect.Corpus, IsPath = true)]
    public string Path { get; init; } = "";
}

/// <summary>The network. Null means: derived as the property says.</summary>
public sealed record ModelSettings
{
    /// <summary><c>decoder</c> or <c>lstm</c>.</summary>
    [JobKey("decoder or lstm")]
    public ModelKind Type { get; init; } = ModelKind.Decoder;

    /// <summary>Width of the residual stream (decoder) or of the recurrent state (lstm).</summary>
    [JobKey("width of the residual stream or recurrent state")]
    public int HiddenSize { get; init; } = 256;

    /// <summary>Blocks (decoder) or stacked layers (lstm).</summary>
    [JobKey("transformer blocks or LSTM layers")]
    public int NumHiddenLayers { get; init; } = 4;

    /// <summary>Query heads.</summary>
    [JobKey("query heads")]
    public int NumAttentionHeads { get; init; } = 4;

    /// <summary>Key and value heads; null: as many as query heads.</summary>
    [JobKey("key and value heads; default as many as query heads")]
    public int? NumKeyValueHeads { get; init; }

    /// <summary>Width of the feed-forward layer; null: 4 x hidden (gelu) or 8/3 x hidden rounded up to 32 (swiglu).</summary>
    [JobKey("width of the feed-forward layer; default 4x (gelu) or 8/3x (swiglu) hidden_size")]
    public int? IntermediateSize { get; init; }

    /// <summary>Positions the model can hold; null: <see cref="TrainingJob.ContextLength"/>.</summary>
    [JobKey("positions the model can hold; default context_length")]
    public int? MaxPositionEmbeddings { get; init; }

    /// <summary>Rotary or learned positions.</summary>
    [JobKey("rope or learned")]
    public PositionKind PositionEmbedding { get; init; } = PositionKind.Rope;

    /// <summary>Base of the rotary frequencies.</summary>
    [JobKey("base of the rotary frequencies")]
    public double RopeTheta { get; init; } = 10_000;

    /// <summary>Normalization before each sub-layer.</summary>
    [JobKey("rmsnorm or layernorm")]
    public NormKind Norm { get; init; } = NormKind.RmsNorm;

    /// <summary>Epsilon of the normalization.</summary>
    [JobKey("epsilon of the normalization")]
    public double NormEps { get; init; } = 1e-5;

    /// <summary>Feed-forward nonlinearity.</summary>
    [JobKey("swiglu or gelu")]
    public ActivationKind Activation { get; init; } = ActivationKind.SwiGlu;

    /// <summary>Biases in the linear layers (GPT-2: true, Llama: false).</summary>
    [JobKey("biases in the linear layers")]
    public bool Bias { get; init; }

    /// <summary>Share the embedding with the output head.</summary>
    [JobKey("share the embedding with the output head")]
    public bool TieWordEmbeddings { get; init; } = true;

    /// <summary>Width of the token embedding of an lstm; null: hidden_size.</summary>
    [JobKey("width of the token embedding of an lstm; default hidden_size")]
    public int? EmbeddingSize { get; init; }

    /// <summary>Dropout probability, everywhere the architecture has it.</summary>
    [JobKey("dropout probability")]
    public double Dropout { get; init; }

    /// <summary>Standard deviation of the initial weights.</summary>
    [JobKey("standard deviation of the initial weights")]
    public double InitializerRange { get; init; } = 0.02;
}
