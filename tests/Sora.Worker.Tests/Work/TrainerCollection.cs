namespace Sora.Worker.Tests.Work;

/// <summary>Tests that train, one after the other: libtorch's random generator is global, so one trainer may disturb another one.</summary>
[CollectionDefinition(Name)]
public class TrainerCollection
{
    public const string Name = "trainers";
}
