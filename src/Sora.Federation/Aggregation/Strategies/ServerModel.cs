using System.Runtime.InteropServices;
using System.Security.Cryptography;
using System.Text;
using Sora.Protocol.Jobs;

namespace Sora.Federation.Aggregation.Strategies;

/// <summary>All that a server carries from round to round: the global weights and what its optimizer remembers (momentum and the like).</summary>
public sealed class ServerModel
{
    private const string Magic = "SORAFED1";

    /// <summary>Creates a model; the arrays are its own from here on.</summary>
    public ServerModel(long round, float[] weights, float[][] state)
    {
        if (weights.Length == 0)
            throw new ArgumentException("A model has at least one parameter.", nameof(weights));
        if (state.Any(vector => vector.Length != weights.Length))
            throw new ArgumentException("Every state vector is as long as the weights.", nameof(state));
        (Round, Weights, State) = (round, weights, state);
    }

    /// <summary>How many rounds have been closed.</summary>
    public long Round { get; }

    /// <summary>The global weights.</summary>
    public float[] Weights { get; }

    /// <summary>The optimizer's vectors, each as long as the weights.</summary>
    public float[][] State { get; }

    /// <summary>A copy to work on, of the next round.</summary>
    internal ServerModel Next() => new(Round + 1, [.. Weights], [.. State.Select(vector => (float[])vector.Clone())]);

    /// <summary>Writes everything, followed by its SHA-256; the same model gives the same bytes.</summary>
    public void Write(Stream stream)
    {
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        Put(Encoding.ASCII.GetBytes(Magic));
        Put(BitConverter.GetBytes(Round));
        Put(BitConverter.GetBytes(Weights.LongLength));
        Put(BitConverter.GetBytes(State.Length));
        foreach (var vector in State.Prepend(Weights))
            for (var at = 0; at < vector.Length; at += 1 << 16)
                Put(MemoryMarshal.AsBytes(vector.AsSpan(at, Math.Min(1 << 16, vector.Length - at))));
        stream.Write(hash.GetHashAndReset());

        void Put(ReadOnlySpan<byte> bytes)
        {
            hash.AppendData(bytes);
            stream.Write(bytes);
        }
    }

    /// <summary>Reads what <see cref="Write"/> wrote.</summary>
    /// <exception cref="SoraException">It is something else, or damaged.</exception>
    public static ServerModel Read(Stream stream)
    {
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        try
        {
            var head = new byte[Magic.Length + 8 + 8 + 4];
            Get(head);
            var (round, length, states) = (BitConverter.ToInt64(head, 8), BitConverter.ToInt64(head, 16), BitConverter.ToInt32(head, 24));
            if (Encoding.ASCII.GetString(head, 0, Magic.Length) != Magic || length < 1 || length > Array.MaxLength || states is < 0 or > 8)
                throw new SoraException("This is not the state of a federated server.", ExitCode.InvalidInput);
            // Before memory is taken for what a damaged head claims.
            if (stream.CanSeek && stream.Length - stream.Position != (1 + states) * length * sizeof(float) + SHA256.HashSizeInBytes)
                throw new SoraException("The state of the federated server has not the length it claims; go back to an older one.", ExitCode.InvalidInput);
            var vectors = new float[1 + states][];
            for (var i = 0; i < vectors.Length; i++)
                for (var at = 0; at < length; at += 1 << 16)
                    Get(MemoryMarshal.AsBytes((vectors[i] ??= new float[length]).AsSpan(at, (int)Math.Min(1 << 16, length - at))));
            var written = new byte[SHA256.HashSizeInBytes];
            stream.ReadExactly(written);
            if (!written.AsSpan().SequenceEqual(hash.GetHashAndReset()))
                throw new SoraException("The state of the federated server is damaged (its SHA-256 differs); go back to an older one.", ExitCode.InvalidInput);
            return new ServerModel(round, vectors[0], vectors[1..]);
        }
        catch (EndOfStreamException e)
        {
            throw new SoraException("The state of the federated server is cut short; go back to an older one.", ExitCode.InvalidInput, e);
        }

        void Get(Span<byte> bytes)
        {
            stream.ReadExactly(bytes);
            hash.AppendData(bytes);
        }
    }
}
