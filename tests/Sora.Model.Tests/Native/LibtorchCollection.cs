using System.Runtime.CompilerServices;
using Sora.Model.Native;

namespace Sora.Model.Tests.Native;

/// <summary>Tests that draw from libtorch's random generator, which is global: one at a time.</summary>
[CollectionDefinition(Name, DisableParallelization = true)]
public class LibtorchCollection
{
    public const string Name = "libtorch";

    // Tests may touch TorchSharp before anything of ours runs.
#pragma warning disable CA2255
    [ModuleInitializer]
#pragma warning restore CA2255
    internal static void Load()
    {
        TorchRuntime.Load();
        TorchSharp.torch.set_num_threads(1);
    }
}
