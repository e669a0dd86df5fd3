namespace Sora.Protocol.Jobs;

/// <summary>Compute precision.</summary>
public enum Precision
{
    /// <summary>32-bit.</summary>
    Fp32,
    /// <summary>bfloat16 compute, 32-bit master weights.</summary>
    Bf16,
}

/// <summary>What happens to a worker whose canary differs.</summary>
public enum NumericsPolicy
{
    /// <summary>Refuse it.</summary>
    Strict,
    /// <summary>Let it in and mark the run.</summary>
    Warn,
}

/// <summary>What happens to a worker that is much slower than the others.</summary>
public enum StragglerPolicy
{
    /// <summary>People are told.</summary>
    Warn,
    /// <summary>People are told, and lanes move in proportion to measured speed. The bytes stay the same.</summary>
    Replace,
    /// <summary>Nothing.</summary>
    Ignore,
}

/// <summary>Optimizers.</summary>
public enum OptimizerKind
{
    /// <summary>Plain gradient descent.</summary>
    Sgd,
    /// <summary>Gradient descent with heavy-ball momentum (Polyak 1964).</summary>
    Momentum,
    /// <summary>Adam (Kingma and Ba 2015), L2 weight decay.</summary>
    Adam,
    /// <summary>AdamW (Loshchilov and Hutter 2019), decoupled weight decay.</summary>
    AdamW,
    /// <summary>Adadelta (Zeiler 2012).</summary>
    Adadelta,
}

/// <summary>Learning-rate shapes after warm-up.</summary>
public enum SchedulerKind
{
    /// <summary>Flat.</summary>
    Constant,
    /// <summary>Straight down.</summary>
    Linear,
    /// <summary>Half a cosine down.</summary>
    Cosine,
}

/// <summary>Tokenizers.</summary>
public enum TokenizerKind
{
    /// <summary>One token a byte.</summary>
    Byte,
    /// <summary>Byte-level BPE trained on the corpus.</summary>
    Bpe,
    /// <summary>OpenAI o200k_base.</summary>
    O200k,
    /// <summary>OpenAI cl100k_base.</summary>
    Cl100k,
    /// <summary>A Hugging Face tokenizer.json.</summary>
    File,
}

/// <summary>Networks.</summary>
public enum ModelKind
{
    /// <summary>Decoder-only transformer.</summary>
    Decoder,
    /// <summary>Embedding, LSTM, linear head.</summary>
    Lstm,
}

/// <summary>Position encodings.</summary>
public enum PositionKind
{
    /// <summary>Rotary (Su et al. 2021).</summary>
    Rope,
    /// <summary>Learned table.</summary>
    Learned,
}

/// <summary>Normalizations.</summary>
public enum NormKind
{
    /// <summary>Root mean square (Zhang and Sennrich 2019).</summary>
    RmsNorm,
    /// <summary>Mean and variance (Ba et al. 2016).</summary>
    LayerNorm,
}

/// <summary>Feed-forward nonlinearities.</summary>
public enum ActivationKind
{
    /// <summary>Gated SiLU (Shazeer 2020).</summary>
    SwiGlu,
    /// <summary>GELU, tanh form (Hendrycks and Gimpel 2016).</summary>
    Gelu,
}
