#!/usr/bin/python3
"""The peer of `Sora.Benchmarks train`: the same decoder, batch and optimizer in PyTorch, one process, one thread.

    apt-get install python3-torch libopenblas0-pthread
    OPENBLAS_NUM_THREADS=1 OMP_NUM_THREADS=1 /usr/bin/python3 benchmarks/peers/decoder_pytorch.py [--shape gpt2|llama] [--rounds 12]

Prints one JSON line. The forward, loss (sum over target tokens, divided at the update), clipping by global norm and AdamW
are those of the C# trainer; attention uses the fastest kernel the installed PyTorch has.
"""
import argparse
import json
import math
import time

import torch
import torch.nn as nn
import torch.nn.functional as F


def attend(q, k, v):  # [batch, heads, time, head]
    if hasattr(F, "scaled_dot_product_attention"):
        return F.scaled_dot_product_attention(q, k, v, is_causal=True)
    if hasattr(F, "_scaled_dot_product_attention"):
        return F._scaled_dot_product_attention(q, k, v, None, 0.0, False, True)[0]
    time_ = q.shape[-2]
    mask = torch.ones(time_, time_, dtype=torch.bool).tril()
    scores = (q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])).masked_fill(~mask, float("-inf"))
    return scores.softmax(-1) @ v


class RmsNorm(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x):
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-5) * self.weight


def rotate(x, cos, sin):
    a, b = x.chunk(2, dim=-1)
    return x * cos + torch.cat((-b, a), dim=-1) * sin


class Block(nn.Module):
    def __init__(self, shape, width, heads):
        super().__init__()
        self.llama, self.heads = shape == "llama", heads
        norm = RmsNorm if self.llama else nn.LayerNorm
        self.norm1, self.norm2 = norm(width), norm(width)
        self.qkv = nn.Linear(width, 3 * width, bias=not self.llama)
        self.out = nn.Linear(width, width, bias=not self.llama)
        if self.llama:
            inner = (8 * width // 3 + 31) // 32 * 32
            self.gate, self.up = nn.Linear(width, inner, bias=False), nn.Linear(width, inner, bias=False)
            self.down = nn.Linear(inner, width, bias=False)
        else:
            self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x, cos, sin):
        batch, time_, width = x.shape
        q, k, v = (t.view(batch, time_, self.heads, -1).transpose(1, 2) for t in self.qkv(self.norm1(x)).split(width, -1))
        if self.llama:
            q, k = rotate(q, cos, sin), rotate(k, cos, sin)
        x = x + self.out(attend(q, k, v).transpose(1, 2).reshape(batch, time_, width))
        h = self.norm2(x)
        if self.llama:
            return x + self.down(F.silu(self.gate(h)) * self.up(h))
        h = self.up(h)
        try:
            h = F.gelu(h, approximate="tanh")
        except TypeError:
            h = F.gelu(h)
        return x + self.down(h)


class Decoder(nn.Module):
    def __init__(self, shape, vocab, context, layers, width, heads):
        super().__init__()
        self.shape = shape
        self.tokens = nn.Embedding(vocab, width)
        self.positions = None if shape == "llama" else nn.Embedding(context, width)
        self.blocks = nn.ModuleList(Block(shape, width, heads) for _ in range(layers))
        self.norm = RmsNorm(width) if shape == "llama" else nn.LayerNorm(width)
        self.head = nn.Linear(width, vocab, bias=False)
        if shape == "llama":  # as in the C# benchmark: the Llama shape ties its head, the GPT-2 shape does not
            self.head.weight = self.tokens.weight
        angle = torch.outer(torch.arange(context).float(), 10000 ** (-torch.arange(0, width // heads, 2).float() / (width // heads)))
        angle = torch.cat((angle, angle), -1)
        self.register_buffer("cos", angle.cos(), persistent=False)
        self.register_buffer("sin", angle.sin(), persistent=False)

    def forward(self, ids):
        x = self.tokens(ids)
        if self.positions is not None:
            x = x + self.positions.weight[: ids.shape[1]]
        for block in self.blocks:
            x = block(x, self.cos[: ids.shape[1]], self.sin[: ids.shape[1]])
        return self.head(self.norm(x))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--shape", choices=("gpt2", "llama"), default="llama")
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--vocab", type=int, default=4096)
    parser.add_argument("--context", type=int, default=256)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--heads", type=int, default=4)
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = Decoder(args.shape, args.vocab, args.context, args.layers, args.width, args.heads)
    parameters = sum(p.numel() for p in model.parameters())
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, betas=(0.9, 0.95), weight_decay=0.1)
    seconds = []
    for step in range(args.rounds + 2):
        ids = torch.randint(0, args.vocab, (args.batch, args.context + 1))
        start = time.perf_counter()
        loss = F.cross_entropy(model(ids[:, :-1]).flatten(0, 1), ids[:, 1:].flatten(), reduction="sum")
        loss.backward()
        for p in model.parameters():
            p.grad.div_(args.batch * args.context)
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=False)
        seconds.append(time.perf_counter() - start)
    best = min(seconds[2:])  # after two steps of warm-up; the best, as in the C# benchmark
    print(json.dumps({
        "peer": f"PyTorch {torch.__version__}", "shape": args.shape, "parameters": parameters,
        "tokens_per_second": round(args.batch * args.context / best, 1), "step_seconds": round(best, 4),
    }))


if __name__ == "__main__":
    main()
