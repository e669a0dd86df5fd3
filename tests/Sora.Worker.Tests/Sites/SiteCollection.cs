namespace Sora.Worker.Tests.Sites;

/// <summary>Real connections take real time; tests that move a clock in step with what happens must not run beside them.</summary>
[CollectionDefinition(Name, DisableParallelization = true)]
public sealed class SiteCollection
{
    public const string Name = "sites";
}
