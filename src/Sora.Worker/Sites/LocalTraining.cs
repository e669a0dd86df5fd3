using Sora.Federation.Policies;
using Sora.Federation.Rounds;
using Sora.Model.Checkpoints;
using Sora.Model.Data;
using Sora.Model.Native;
using Sora.Model.Training;
using Sora.Protocol.Exchange;
using Sora.Protocol.Jobs;

namespace Sora.Worker.Sites;

/// <summary>Local rounds with libtorch: the trainer of data-parallel runs, alone with the site's own text.</summary>
/// <param name="baseModel">Where the site keeps the network that the job begins with; empty: where the job says.</param>
/// <param name="cacheDir">Where the site's prepared text is kept; it never leaves the site.</param>
/// <param name="time">The clock.</param>
public sealed class LocalTrainingSource(string baseModel, string cacheDir, TimeProvider time) : ILocalTrainingSource
{
    /// <inheritdoc/>
    public LocalPlan Plan(SiteAssignment assignment, IReadOnlyList<SiteDataSet> data) =>
        new(data, assignment.Job.Lora.IsOn ? UpdateContent.Adapter : UpdateContent.Full);

    /// <inheritdoc/>
    public ILocalTraining Open(SiteAssignment assignment, LocalPlan plan) => new LocalTraining(JobOf(assignment.Job, plan), assignment.Run.Settings, time);

    /// <summary>The job as this site computes it: its own text, its own copy of the network.</summary>
    private TrainingJob JobOf(TrainingJob job, LocalPlan plan)
    {
        if (job.Tokenizer.Type == TokenizerKind.Bpe)
            throw new SoraException("The job would train a tokenizer on each site's own text, and the sites would not understand each other's tokens. Name a base_model, or tokenizer: byte, o200k, cl100k or a file.", ExitCode.Usage);
        if (job.Federated.Strategy.Type == "scaffold")
            throw new SoraException("This release trains no round of scaffold: its control variates do not travel yet.", ExitCode.Usage);
        return job with
        {
            Data = job.Data with { Train = [.. plan.Data.Select(set => set.Folder)], CacheDir = cacheDir },
            BaseModel = baseModel.Length > 0 && job.BaseModel.Length > 0 ? Path.GetFullPath(baseModel) : job.BaseModel,
            Tokenizer = baseModel.Length > 0 && job.Tokenizer.Path == job.BaseModel ? job.Tokenizer with { Path = Path.GetFullPath(baseModel) } : job.Tokenizer,
        };
    }
}

/// <summary>The numbers of one run at one site. One thread owns it.</summary>
public sealed class LocalTraining : ILocalTraining
{
    private readonly PlannedBatches _data;
    private readonly Trainer _trainer;
    private readonly LocalExchange _exchange;
    private readonly int _stepsPerRound;
    private readonly double _proximalMu;

    /// <summary>Prepares the site's text and makes the network.</summary>
    /// <exception cref="SoraException">The text cannot be read, is too short, or the network is not the one the job names.</exception>
    public LocalTraining(TrainingJob job, FederationSettings settings, TimeProvider time)
    {
        var corpus = CorpusCache.GetAsync(job.Data, job.Tokenizer, time: time).GetAwaiter().GetResult();
        var vocabulary = corpus.Manifest.Tokenizer.VocabSize;
        _data = BatchSources.Local(corpus, job);
        try
        {
            _stepsPerRound = settings.LocalSteps > 0 ? settings.LocalSteps : Math.Max(1, (int)Math.Ceiling(settings.LocalEpochs * _data.Plan.StepsPerEpoch));
            // The learning rate follows its schedule over all rounds, as it would in one place.
            _trainer = new Trainer(job with { MaxSteps = checked(settings.Rounds * _stepsPerRound) }, vocabulary, Devices.Resolve(job.Device), time, BaseModel.Reader(job));
        }
        catch
        {
            _data.Dispose();
            throw;
        }
        _exchange = new LocalExchange(job.Lanes);
        _proximalMu = settings.Strategy.Name != "fedprox" ? 0
            : settings.Strategy.Parameters.TryGetValue("proximal_mu", out var mu) ? mu : FederationStrategies.All["fedprox"].First(parameter => parameter.Name == "proximal_mu").Default;
    }

    /// <inheritdoc/>
    public long Examples => _data.Plan.Samples;

    /// <inheritdoc/>
    public long HeldOutExamples => _data.ValidationSamples;

    /// <inheritdoc/>
    public LocalUpdate Train(RoundAnnounced round, ReadOnlySpan<float> parameters, FederationSettings settings, CancellationToken cancellationToken)
    {
        // An attempt reads what the one before it read: what becomes of a round does not depend on how often it was tried.
        _trainer.Begin((round.Round.Round - 1L) * _stepsPerRound, parameters);
        _trainer.Anchor(_proximalMu);
        var (lossSum, tokens) = (0.0, 0L);
        for (var step = 0; step < _stepsPerRound; step++)
        {
            cancellationToken.ThrowIfCancellationRequested();
            _data.Announce(_trainer.Step, _exchange.Lanes);
            var result = _trainer.RunStep(_data, _exchange, stopRequested: false);
            lossSum += result.Loss * result.Tokens;
            tokens += result.Tokens;
        }
        var update = new float[parameters.Length];
        _trainer.CopyWeightsTo(update);
        for (var i = 0; i < update.Length; i++)
            update[i] -= parameters[i];
        return new LocalUpdate(update, Examples, lossSum / tokens);
    }

    /// <inheritdoc/>
    public LocalEvaluation Evaluate(ReadOnlySpan<float> parameters, CancellationToken cancellationToken)
    {
        cancellationToken.ThrowIfCancellationRequested();
        _trainer.Begin(0, parameters);
        return _trainer.Evaluate(_data, _exchange) is { } result
            ? new LocalEvaluation(result.Loss, (double)result.Tokens / _trainer.Job.ContextLength)
            : throw new SoraException("This site holds no text out: its held-out part is shorter than context_length. Raise data.validation_split or give it more text.", ExitCode.InvalidInput);
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _trainer.Dispose();
        _data.Dispose();
        _exchange.Dispose();
    }
}
