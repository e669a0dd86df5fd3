using System.Runtime.CompilerServices;
using System.Threading.Channels;
using Sora.Model.Data.Sources;
using Sora.Model.Tokenization;

namespace Sora.Model.Data.Preparation;

/// <summary>
/// Reads several inputs at once, encodes on all cores, and gives the batches in the order of the inputs: what comes out does not
/// depend on the number of threads. Every queue is bounded, so memory does not grow with the corpus, nor when the writer is slow.
/// </summary>
internal sealed class EncodingPipeline(ITokenizer tokenizer, int tokenBytes, int threads)
{
    private const int BatchesAheadPerInput = 4;

    private sealed record Work(TextBatch Batch, TaskCompletionSource<EncodedBatch> Result);

    /// <summary>Encodes the inputs. The caller disposes each batch.</summary>
    public async IAsyncEnumerable<EncodedBatch> RunAsync(IReadOnlyList<CorpusInput> inputs, [EnumeratorCancellation] CancellationToken cancellationToken)
    {
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        var work = Channel.CreateBounded<Work>(threads * 2);
        var running = Enumerable.Range(0, threads).Select(_ => Task.Run(() => EncodeAsync(work.Reader, stop.Token), CancellationToken.None)).ToList();
        var open = new Queue<(ChannelReader<Task<EncodedBatch>> Batches, Task Reading)>();
        try
        {
            var next = 0;
            while (true)
            {
                // The channels of inputs further on fill up and wait; the workers never do, so the first in line always moves.
                for (; next < inputs.Count && open.Count < threads; next++)
                {
                    var input = inputs[next];
                    var batches = Channel.CreateBounded<Task<EncodedBatch>>(BatchesAheadPerInput);
                    var reading = Task.Run(() => ReadAsync(input, batches.Writer, work.Writer, stop.Token), CancellationToken.None);
                    open.Enqueue((batches.Reader, reading));
                }
                if (!open.TryPeek(out var first)) break;
                await foreach (var batch in first.Batches.ReadAllAsync(stop.Token))
                    yield return await batch.WaitAsync(stop.Token);
                open.Dequeue();
            }
        }
        finally
        {
            await stop.CancelAsync();
            work.Writer.TryComplete();
            // Each of these ends by itself now, and has handed any error on through its channel.
            await Task.WhenAll([.. running, .. open.Select(input => input.Reading)]);
        }
    }

    private static async Task ReadAsync(CorpusInput input, ChannelWriter<Task<EncodedBatch>> batches, ChannelWriter<Work> work, CancellationToken cancellationToken)
    {
        try
        {
            await foreach (var batch in input.ReadAsync(cancellationToken).WithCancellation(cancellationToken))
            {
                var item = new Work(batch, new(TaskCreationOptions.RunContinuationsAsynchronously));
                await batches.WriteAsync(item.Result.Task, cancellationToken);
                await work.WriteAsync(item, cancellationToken);
            }
            batches.Complete();
        }
        catch (Exception e) // goes to whoever reads the channel, after the batches before it
        {
            batches.Complete(e);
        }
    }

    private async Task EncodeAsync(ChannelReader<Work> work, CancellationToken cancellationToken)
    {
        await foreach (var item in work.ReadAllAsync(CancellationToken.None))
        {
            if (cancellationToken.IsCancellationRequested)
            {
                item.Result.SetCanceled(cancellationToken);
                continue;
            }
            try
            {
                item.Result.SetResult(EncodedBatch.Encode(item.Batch, tokenizer, tokenBytes));
            }
            catch (Exception e) // goes to whoever awaits the batch
            {
                item.Result.SetException(e);
            }
        }
    }
}
