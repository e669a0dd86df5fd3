#!/usr/bin/python3
"""Reads a checkpoint the way Hugging Face transformers lays GPT-2 and Llama out, and computes its loss in PyTorch.

    /usr/bin/python3 benchmarks/peers/hub_forward.py CHECKPOINT TOKENS.bin [--windows 8]

An independent check of what `sora` writes: only config.json, model.safetensors and a token shard (little-endian uint16) are
read; the forward follows modeling_gpt2.py and modeling_llama.py. Prints one JSON line with the mean cross-entropy in nats
over the first windows of the shard: that of a run's last evaluation, where it has no more windows than that. Where the package
transformers is installed, its own AutoModelForCausalLM loads the folder too, and the line has its loss and how far its logits
are off at most; else it says "not installed".
"""
import argparse
import json
import struct

import numpy as np
import torch
import torch.nn.functional as F

DTYPES = {"F32": np.float32, "F16": np.float16, "I64": np.int64}


def load_safetensors(path):
    blob = open(path, "rb").read()
    (length,) = struct.unpack("<Q", blob[:8])
    header = json.loads(blob[8 : 8 + length])
    tensors = {}
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        begin, end = entry["data_offsets"]
        data = np.frombuffer(blob[8 + length + begin : 8 + length + end], DTYPES[entry["dtype"]])
        tensors[name] = torch.from_numpy(data.reshape(entry["shape"]).copy())
    return tensors


def attend(q, k, v):
    time = q.shape[-2]
    mask = torch.ones(time, time, dtype=torch.bool).tril()
    return (q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5).masked_fill(~mask, float("-inf")).softmax(-1) @ v


def heads(x, n):
    return x.view(*x.shape[:2], n, -1).transpose(1, 2)


def gpt2(w, c, ids):
    def conv1d(x, name):  # transformers' Conv1D keeps its weight as [in, out]
        return x @ w[name + ".weight"] + w[name + ".bias"]

    def norm(x, name):
        return F.layer_norm(x, (c["n_embd"],), w[name + ".weight"], w[name + ".bias"], c["layer_norm_epsilon"])

    x = w["transformer.wte.weight"][ids] + w["transformer.wpe.weight"][: ids.shape[1]]
    for i in range(c["n_layer"]):
        p = f"transformer.h.{i}."
        q, k, v = (heads(t, c["n_head"]) for t in conv1d(norm(x, p + "ln_1"), p + "attn.c_attn").split(c["n_embd"], -1))
        x = x + conv1d(attend(q, k, v).transpose(1, 2).flatten(2), p + "attn.c_proj")
        h = conv1d(norm(x, p + "ln_2"), p + "mlp.c_fc")
        h = 0.5 * h * (1 + torch.tanh((2 / torch.pi) ** 0.5 * (h + 0.044715 * h**3)))
        x = x + conv1d(h, p + "mlp.c_proj")
    return norm(x, "transformer.ln_f") @ w.get("lm_head.weight", w["transformer.wte.weight"]).T


def llama(w, c, ids):
    n, kv = c["num_attention_heads"], c["num_key_value_heads"]
    width = c["hidden_size"] // n

    def norm(x, name):
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + c["rms_norm_eps"]) * w[name + ".weight"]

    inverse = 1.0 / c["rope_theta"] ** (torch.arange(0, width, 2).float() / width)
    angle = torch.outer(torch.arange(ids.shape[1]).float(), inverse)
    cos, sin = torch.cat((angle, angle), -1).cos(), torch.cat((angle, angle), -1).sin()

    def rotate(x):
        a, b = x.chunk(2, -1)
        return x * cos + torch.cat((-b, a), -1) * sin

    x = w["model.embed_tokens.weight"][ids]
    for i in range(c["num_hidden_layers"]):
        p = f"model.layers.{i}."
        h = norm(x, p + "input_layernorm")
        q, k, v = (heads(h @ w[f"{p}self_attn.{s}_proj.weight"].T, m) for s, m in (("q", n), ("k", kv), ("v", kv)))
        k, v = rotate(k).repeat_interleave(n // kv, 1), v.repeat_interleave(n // kv, 1)
        x = x + attend(rotate(q), k, v).transpose(1, 2).flatten(2) @ w[p + "self_attn.o_proj.weight"].T
        h = norm(x, p + "post_attention_layernorm")
        x = x + (F.silu(h @ w[p + "mlp.gate_proj.weight"].T) * (h @ w[p + "mlp.up_proj.weight"].T)) @ w[p + "mlp.down_proj.weight"].T
    return norm(x, "model.norm") @ w.get("lm_head.weight", w["model.embed_tokens.weight"]).T


def with_transformers(checkpoint, rows, logits):
    try:
        import transformers
    except ImportError:
        return "not installed"
    model, loading = transformers.AutoModelForCausalLM.from_pretrained(checkpoint, output_loading_info=True)
    theirs = model.float().eval()(rows[:, :-1]).logits
    return {
        "version": transformers.__version__,
        "class": type(model).__name__,
        "missing_keys": sorted(loading["missing_keys"]),
        "unexpected_keys": sorted(loading["unexpected_keys"]),
        "loss": round(cross_entropy(theirs, rows), 6),
        "largest_logit_difference": (theirs - logits).abs().max().item(),
    }


def cross_entropy(logits, rows):
    return F.cross_entropy(logits.flatten(0, 1), rows[:, 1:].flatten()).item()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("checkpoint")
    parser.add_argument("tokens")
    parser.add_argument("--windows", type=int, default=8)
    parser.add_argument("--context", type=int, default=0)
    args = parser.parse_args()
    config = json.load(open(args.checkpoint + "/config.json"))
    weights = load_safetensors(args.checkpoint + "/model.safetensors")
    forward = {"GPT2LMHeadModel": gpt2, "LlamaForCausalLM": llama}[config["architectures"][0]]
    context = args.context or config.get("n_positions") or config["max_position_embeddings"]
    tokens = np.fromfile(args.tokens, np.uint16).astype(np.int64)
    rows = torch.stack([torch.from_numpy(tokens[i * context : i * context + context + 1]) for i in range(min(args.windows, (len(tokens) - 1) // context))])
    with torch.no_grad():
        logits = forward(weights, config, rows[:, :-1])
        loss = cross_entropy(logits, rows)
        peer = with_transformers(args.checkpoint, rows, logits)
    print(json.dumps({
        "architecture": config["architectures"][0], "windows": len(rows), "tokens": rows[:, 1:].numel(), "loss": round(loss, 6), "transformers": peer,
    }))


if __name__ == "__main__":
    main()
