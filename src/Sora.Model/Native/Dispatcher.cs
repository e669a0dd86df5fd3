using System.Runtime.InteropServices;
using System.Text;
using TorchSharp;
using static TorchSharp.torch;

namespace Sora.Model.Native;

/// <summary>
/// Operators TorchSharp does not wrap, called by name through libtorch's stable C interface (<c>torch_call_dispatcher</c>).
/// Arguments travel as 64-bit slots: a tensor is an owned handle the call consumes, a double its bits, an optional a pointer
/// to a heap cell the call frees, a list its handle. Every argument of the schema must be given. Where the interface is
/// missing or its self-test fails, the managed fallback next to each call is used.
/// </summary>
internal sealed unsafe class Dispatcher
{
    private static readonly Lazy<Dispatcher?> _instance = new(Open, LazyThreadSafetyMode.ExecutionAndPublication);

    private readonly delegate* unmanaged<byte*, byte*, ulong*, ulong, int> _call;
    private readonly delegate* unmanaged<nint, nint*, int> _newHandle;
    private readonly delegate* unmanaged<nuint, nint*, int> _newList;
    private readonly delegate* unmanaged<nint, ulong, int> _pushBack;
    private readonly ulong _abi;

    private Dispatcher(LoadedTorch torch, nint call, nint newHandle, nint newList, nint pushBack)
    {
        _abi = torch.Abi;
        _call = (delegate* unmanaged<byte*, byte*, ulong*, ulong, int>)call;
        _newHandle = (delegate* unmanaged<nint, nint*, int>)newHandle;
        _newList = (delegate* unmanaged<nuint, nint*, int>)newList;
        _pushBack = (delegate* unmanaged<nint, ulong, int>)pushBack;
    }

    /// <summary>Whether the interface is there and passed its self-test.</summary>
    public static bool Available => _instance.Value is not null;

    /// <summary>
    /// One fused AdamW update of flat tensors, in place (schema: native_functions.yaml, <c>_fused_adamw_</c>).
    /// The step is a [] fp32 tensor: the number of this update, from 1.
    /// </summary>
    /// <exception cref="InvalidOperationException">The interface is not there; see <see cref="Available"/>.</exception>
    public static void FusedAdamW(Tensor parameters, Tensor gradient, Tensor firstMoment, Tensor secondMoment, Tensor step,
        double learningRate, double beta1, double beta2, double weightDecay, double epsilon)
    {
        var dispatcher = _instance.Value ?? throw new InvalidOperationException("libtorch's C interface is not there.");
        var stack = stackalloc ulong[15];
        stack[0] = dispatcher.List(parameters);
        stack[1] = dispatcher.List(gradient);
        stack[2] = dispatcher.List(firstMoment);
        stack[3] = dispatcher.List(secondMoment);
        stack[4] = dispatcher.List();
        stack[5] = dispatcher.List(step);
        stack[6] = Bits(learningRate);
        stack[7] = Bits(beta1);
        stack[8] = Bits(beta2);
        stack[9] = Bits(weightDecay);
        stack[10] = Bits(epsilon);
        stack[11] = 0; // amsgrad
        stack[12] = 0; // maximize
        stack[13] = 0; // grad_scale: none
        stack[14] = 0; // found_inf: none
        dispatcher.Call("aten::_fused_adamw_"u8, stack);
    }

    /// <summary>x / sqrt(mean(x^2) + epsilon) * weight over the last dimension.</summary>
    public static Tensor RmsNorm(Tensor input, Tensor weight, double epsilon)
    {
        if (_instance.Value is not { } dispatcher)
            return input * torch.rsqrt(input.square().mean([-1], keepdim: true) + epsilon) * weight;
        var stack = stackalloc ulong[4];
        stack[0] = dispatcher.Handle(input);
        stack[1] = dispatcher.IntegerList(weight.shape[0]);
        stack[2] = Optional(dispatcher.Handle(weight));
        stack[3] = Optional(Bits(epsilon));
        return dispatcher.CallForTensor("aten::rms_norm"u8, stack);
    }

    /// <summary>Causal attention in which each key/value head may serve several query heads (Ainslie et al. 2023).</summary>
    public static Tensor GroupedQueryAttention(Tensor query, Tensor key, Tensor value, double dropout, bool causal)
    {
        if (_instance.Value is not { } dispatcher)
        {
            var repeats = query.shape[1] / key.shape[1];
            return nn.functional.scaled_dot_product_attention(
                query, key.repeat_interleave(repeats, dim: 1), value.repeat_interleave(repeats, dim: 1), p: dropout, is_casual: causal);
        }
        var stack = stackalloc ulong[8];
        stack[0] = dispatcher.Handle(query);
        stack[1] = dispatcher.Handle(key);
        stack[2] = dispatcher.Handle(value);
        stack[3] = 0; // attn_mask: none
        stack[4] = Bits(dropout);
        stack[5] = causal ? 1u : 0u;
        stack[6] = 0; // scale: 1/sqrt(head size)
        stack[7] = 1; // enable_gqa
        return dispatcher.CallForTensor("aten::scaled_dot_product_attention"u8, stack);
    }

    private static Dispatcher? Open()
    {
        var torch = TorchRuntime.Loaded;
        if (!NativeLibrary.TryGetExport(torch.Cpu, "torch_call_dispatcher", out var call)
            || !NativeLibrary.TryGetExport(torch.Cpu, "aoti_torch_new_tensor_handle", out var newHandle)
            || !NativeLibrary.TryGetExport(torch.Cpu, "torch_new_list_reserve_size", out var newList)
            || !NativeLibrary.TryGetExport(torch.Cpu, "torch_list_push_back", out var pushBack))
            return null;
        var dispatcher = new Dispatcher(torch, call, newHandle, newList, pushBack);
        return dispatcher.Works() ? dispatcher : null;
    }

    // One operator with a known answer: proves the encoding of tensors and results before anything rests on it.
    private bool Works()
    {
        using var scope = NewDisposeScope();
        var stack = stackalloc ulong[1];
        stack[0] = Handle(torch.tensor(3.5f));
        return TryCall("aten::neg"u8, stack) && Tensor.UnsafeCreateTensor((nint)stack[0]).item<float>() == -3.5f;
    }

    private bool TryCall(ReadOnlySpan<byte> op, ulong* stack)
    {
        byte empty = 0;
        fixed (byte* name = op)
            return _call(name, &empty, stack, _abi) == 0;
    }

    private void Call(ReadOnlySpan<byte> op, ulong* stack)
    {
        if (!TryCall(op, stack))
            throw new InvalidOperationException($"libtorch refused a call of {Encoding.UTF8.GetString(op)}; its reason is on the standard error stream.");
    }

    private Tensor CallForTensor(ReadOnlySpan<byte> op, ulong* stack)
    {
        Call(op, stack);
        return Tensor.UnsafeCreateTensor((nint)stack[0]);
    }

    private ulong Handle(Tensor tensor)
    {
        nint handle;
        Check(_newHandle(tensor.Handle, &handle));
        GC.KeepAlive(tensor);
        return (ulong)handle;
    }

    private ulong List(params ReadOnlySpan<Tensor> tensors)
    {
        var list = NewList(tensors.Length);
        foreach (var tensor in tensors)
            Check(_pushBack(list, Handle(tensor)));
        return (ulong)list;
    }

    private ulong IntegerList(long value)
    {
        var list = NewList(1);
        Check(_pushBack(list, (ulong)value));
        return (ulong)list;
    }

    private nint NewList(int capacity)
    {
        nint list;
        Check(_newList((nuint)capacity, &list));
        return list;
    }

    // libtorch frees the cell with `delete`, which is `free` under glibc, as NativeMemory.Alloc is `malloc`.
    private static ulong Optional(ulong value)
    {
        var cell = (ulong*)NativeMemory.Alloc(sizeof(ulong));
        *cell = value;
        return (ulong)cell;
    }

    private static ulong Bits(double value) => BitConverter.DoubleToUInt64Bits(value);

    private static void Check(int error)
    {
        if (error != 0)
            throw new InvalidOperationException("libtorch could not make an argument of an operator call; its reason is on the standard error stream.");
    }
}
