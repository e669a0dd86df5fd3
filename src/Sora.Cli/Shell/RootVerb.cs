using System.CommandLine;
using System.CommandLine.Help;
using Sora.Cli.Audit;
using Sora.Cli.Checkpoints;
using Sora.Cli.Config;
using Sora.Cli.Coordinators;
using Sora.Cli.Data;
using Sora.Cli.Doctor;
using Sora.Cli.Evaluate;
using Sora.Cli.Federate;
using Sora.Cli.Generate;
using Sora.Cli.Privacy;
using Sora.Cli.Sites;
using Sora.Cli.Tokenizers;
using Sora.Cli.Train;
using Sora.Cli.Worker;

namespace Sora.Cli.Shell;

/// <summary>The <c>sora</c> command with all its verbs.</summary>
internal sealed class RootVerb : RootCommand, IHasExamples
{
    private RootVerb() : base("Trains text models on many machines and answers for the result.") { }

    /// <inheritdoc/>
    public IReadOnlyList<string> Examples { get; } =
    [
        "sora train examples/quickstart.yaml               # everything: data, workers, checkpoints, samples",
        "sora generate runs/quickstart -p 'Gets or sets '  # continue a prompt with the newest checkpoint",
        "sora config keys                                  # every key a job file can have",
        "sora config show examples/quickstart.yaml         # what a job file means, defaults filled in",
    ];

    /// <summary>Builds the tree of verbs.</summary>
    public static RootCommand Create()
    {
        var root = new RootVerb
        {
            TrainVerb.Create(),
            FederateVerb.Create(),
            GenerateVerb.Create(),
            EvaluateVerb.Create(),
            DataVerb.Create(),
            TokenizerVerb.Create(),
            CheckpointVerb.Create(),
            WorkerVerb.Create(),
            CoordinatorVerb.Create(),
            SiteVerb.Create(),
            PolicyVerb.Create(),
            PrivacyVerb.Create(),
            AuditVerb.Create(),
            ConfigVerb.Create(),
            DoctorVerb.Create(),
            CompletionVerb.Create(),
        };
        EmptyWords.Refuse(root);
        var help = root.Options.OfType<HelpOption>().Single();
        help.Action = new HelpWithExamples((HelpAction)help.Action!);
        return root;
    }
}
