using System.IO.Pipes;
using System.Text;
using Microsoft.Win32.SafeHandles;
using Sora.Protocol.Jobs;

namespace Sora.Cli.Shell;

/// <summary>
/// Makes a redirected stdout that cannot be written an error like any other, and a stderr that cannot be written no error at all:
/// what nobody can read is not worth a run.
/// </summary>
internal static class StandardStreams
{
    /// <summary>Replaces the writers of <see cref="Console"/>, once, before anything is written.</summary>
    public static void Install()
    {
        if (Console.IsOutputRedirected)
        {
            var pipe = Pipe();
            Console.SetOut(Writer(new StandardStream(pipe ?? Console.OpenStandardOutput(), error => throw new OutputLostException(error, readerHasGone: pipe is not null))));
        }
        if (Console.IsErrorRedirected) Console.SetError(Writer(new StandardStream(Console.OpenStandardError(), _ => { })));
    }

    private static TextWriter Writer(Stream stream) => TextWriter.Synchronized(new StreamWriter(stream, Console.OutputEncoding) { AutoFlush = true });

    // .NET's own stream to a pipe is silent when the reader has gone, and a run that nobody follows would go on for hours.
    private static AnonymousPipeClientStream? Pipe()
    {
        if (OperatingSystem.IsWindows()) return null;
        try
        {
            return new AnonymousPipeClientStream(PipeDirection.Out, new SafePipeHandle(1, ownsHandle: false));
        }
        catch (IOException)
        {
            return null; // a file or a device
        }
    }

    private sealed class StandardStream(Stream inner, Action<IOException> failed) : Stream
    {
        public override bool CanRead => false;
        public override bool CanSeek => false;
        public override bool CanWrite => true;
        public override long Length => throw new NotSupportedException();
        public override long Position { get => throw new NotSupportedException(); set => throw new NotSupportedException(); }

        public override void Write(ReadOnlySpan<byte> buffer)
        {
            try
            {
                inner.Write(buffer);
            }
            catch (IOException error)
            {
                failed(error);
            }
        }

        public override void Write(byte[] buffer, int offset, int count) => Write(buffer.AsSpan(offset, count));
        public override void Flush() { }
        public override int Read(byte[] buffer, int offset, int count) => throw new NotSupportedException();
        public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();
        public override void SetLength(long value) => throw new NotSupportedException();
    }
}

/// <summary>Stdout cannot be written: the disk is full, or whoever read the pipe has gone.</summary>
internal sealed class OutputLostException(IOException cause, bool readerHasGone)
    : SoraException($"The output cannot be written: {cause.Message.TrimEnd('.')}.", readerHasGone ? BrokenPipe : Sora.Protocol.Jobs.ExitCode.Failure, cause)
{
    /// <summary>What a shell reports for a program ended by SIGPIPE.</summary>
    private const int BrokenPipe = 141;

    /// <summary>Whether the reader has simply seen enough, which is no error: <c>sora config keys | head -1</c>.</summary>
    public bool ReaderHasGone => readerHasGone;
}
