using System.Runtime.InteropServices;
using System.Security.Cryptography;
using Grpc.Core;
using Sora.Federation.Rounds;
using Sora.Protocol.Api;
using Sora.Protocol.Jobs;
using Sora.Worker.Session;

namespace Sora.Worker.Sites;

/// <summary>A connection on which the site was let in, and what lets its other calls through.</summary>
internal sealed record AdmittedConnection(CoordinatorClient Client, string Ticket);

/// <summary>A global model is not to be had.</summary>
internal sealed class ModelException(string message, Exception? inner = null) : SoraException(message, Sora.Protocol.Jobs.ExitCode.InvalidInput, inner);

/// <summary>Global models of a run on this site's disk, fetched once each and checked against the hash they were announced with.</summary>
internal sealed class ModelCache(string folder, long parameters, Awaitable<AdmittedConnection> connection, TimeProvider time)
{
    private const int KeptBefore = 1;
    private static readonly TimeSpan Pause = TimeSpan.FromSeconds(1);

    /// <summary>The parameters of a model. While no coordinator is there this waits.</summary>
    /// <exception cref="ModelException">What came is not the model.</exception>
    public async Task<float[]> ReadAsync(ModelVersion model, CancellationToken cancellationToken)
    {
        if (parameters > Array.MaxLength)
            throw new ModelException($"The model has {parameters} parameters; a site trains at most {Array.MaxLength}.");
        var path = Path.Combine(folder, $"{model.Number}.f32");
        if (!File.Exists(path))
            await FetchAsync(model, path, cancellationToken);
        var values = new float[parameters];
        await Task.Run(() =>
        {
            using var file = File.OpenRead(path);
            if (file.Length == parameters * sizeof(float) && Convert.ToHexStringLower(SHA256.HashData(file)) == model.Sha256)
            {
                file.Position = 0;
                file.ReadExactly(MemoryMarshal.AsBytes(values.AsSpan()));
                return;
            }
            file.Close();
            File.Delete(path);
            throw new ModelException($"Model {model.Number} is not the one that was announced: its SHA-256 differs.");
        }, cancellationToken);
        return values;
    }

    private async Task FetchAsync(ModelVersion model, string path, CancellationToken cancellationToken)
    {
        Directory.CreateDirectory(folder);
        foreach (var older in Directory.EnumerateFiles(folder).Where(file => !int.TryParse(Path.GetFileNameWithoutExtension(file), out var number) || number < model.Number - KeptBefore))
            File.Delete(older);
        while (true)
        {
            var admitted = await connection.GetAsync(cancellationToken);
            try
            {
                await DownloadAsync(admitted, model, path + ".new", cancellationToken);
                File.Move(path + ".new", path, overwrite: true);
                return;
            }
            catch (RpcException e) when (e.StatusCode is not (StatusCode.NotFound or StatusCode.InvalidArgument or StatusCode.FailedPrecondition))
            {
                // The connection broke, or the ticket went with it: the next one is as good.
                cancellationToken.ThrowIfCancellationRequested();
            }
            catch (ObjectDisposedException)
            {
                cancellationToken.ThrowIfCancellationRequested();
            }
            catch (RpcException e)
            {
                throw new ModelException($"The coordinator does not give out model {model.Number}: {e.Status.Detail}", e);
            }
            await Task.Delay(Pause, time, cancellationToken);
        }
    }

    private async Task DownloadAsync(AdmittedConnection admitted, ModelVersion model, string path, CancellationToken cancellationToken)
    {
        var request = new ModelRequest { Ticket = admitted.Ticket, Number = (uint)model.Number, Sha256 = model.Sha256 };
        using var call = admitted.Client.Gateway.GetModel(request, admitted.Client.Headers, cancellationToken: cancellationToken);
        await using var file = new FileStream(path, FileMode.Create, FileAccess.Write);
        while (await call.ResponseStream.MoveNext(cancellationToken))
        {
            var content = call.ResponseStream.Current.Content;
            if (file.Position + content.Length > parameters * sizeof(float))
                throw new ModelException($"Model {model.Number} is larger than the {parameters} parameters of this run.");
            await file.WriteAsync(content.Memory, cancellationToken);
        }
    }
}
