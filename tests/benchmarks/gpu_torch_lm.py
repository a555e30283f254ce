#!/usr/bin/env python3
"""The model of examples/train_lm in PyTorch: training steps on random characters, tokens a second.

  tests/benchmarks/gpu_torch_lm.py --name NAME [--device cpu] [--layers N --width N --heads N --experts N --topk N --block N
                                   --batch N --capacity C --steps N] [--no-compile]

Options as those of train_lm. Pre-norm blocks of causal attention (scaled_dot_product_attention) and a mixture of
feed-forward experts with biases, GELU, dropless (capacity 0: rows of an expert are gathered, experts one after another) or
with capacity (one-hot dispatch, all experts in one batched product); AdamW (fused on a GPU), gradients clipped to norm 1,
f32 without TF32. Prints lines `torch.lm.NAME.eager.tokens value tokens/s`, and the same compiled.
"""
import argparse
import time

import torch
import torch.nn.functional as F
from torch import nn


class Attention(nn.Module):
    def __init__(self, o):
        super().__init__()
        self.heads = o.heads
        self.q, self.k, self.v = (nn.Linear(o.width, o.width, bias=False) for _ in range(3))
        self.out = nn.Linear(o.width, o.width)

    def forward(self, x):
        split = lambda y: y.unflatten(-1, (self.heads, -1)).transpose(1, 2)
        y = F.scaled_dot_product_attention(split(self.q(x)), split(self.k(x)), split(self.v(x)), is_causal=True)
        return self.out(y.transpose(1, 2).flatten(2))


class Mixture(nn.Module):
    def __init__(self, o):
        super().__init__()
        self.o, hidden = o, 4 * o.width
        self.gate = nn.Linear(o.width, o.experts, bias=False)
        self.w1 = nn.Parameter(torch.randn(o.experts, o.width, hidden) / o.width ** 0.5)
        self.w2 = nn.Parameter(torch.randn(o.experts, hidden, o.width) / hidden ** 0.5)
        self.b1, self.b2 = nn.Parameter(torch.zeros(o.experts, hidden)), nn.Parameter(torch.zeros(o.experts, o.width))

    def forward(self, x):
        logits = self.gate(x)
        probabilities = logits.softmax(dim=-1)
        top, chosen = probabilities.topk(self.o.topk, dim=-1)
        gates = top / top.sum(dim=-1, keepdim=True)
        share = F.one_hot(chosen, self.o.experts).float().mean(dim=(0, 1, 2))
        loss = 0.01 * self.o.experts * (share * probabilities.mean(dim=(0, 1))).sum()
        loss = loss + 0.001 * torch.logsumexp(logits, dim=-1).square().mean()
        if self.o.capacity > 0:
            return self.with_capacity(x, gates, chosen), loss
        return self.dropless(x.flatten(0, 1), gates.flatten(0, 1), chosen.flatten(0, 1)).view_as(x), loss

    def dropless(self, x, gates, chosen):
        y = torch.zeros_like(x)
        for e in range(self.o.experts):
            token, choice = torch.where(chosen == e)
            h = F.gelu(torch.addmm(self.b1[e], x[token], self.w1[e]))
            y = y.index_add(0, token, gates[token, choice, None] * torch.addmm(self.b2[e], h, self.w2[e]))
        return y

    def with_capacity(self, x, gates, chosen):
        batch, tokens, k = chosen.shape  # slots are those of one row
        slots = -int(-self.o.capacity * tokens * k // self.o.experts)
        picked = F.one_hot(chosen.transpose(1, 2).flatten(1), self.o.experts)  # [B, K N, E]: first choices of all first
        place = ((picked.cumsum(dim=1) - picked) * picked).sum(dim=-1)
        at = F.one_hot(place.clamp(max=slots - 1), slots).to(x.dtype) * (place < slots).to(x.dtype)[..., None]
        dispatch = torch.einsum("bme,bmc->bmec", picked.to(x.dtype), at).unflatten(1, (k, tokens))
        combine = (dispatch * gates.transpose(1, 2)[..., None, None]).sum(dim=1)
        slot = torch.einsum("bnec,bnd->ebcd", dispatch.sum(dim=1), x).flatten(1, 2)
        h = F.gelu(torch.baddbmm(self.b1[:, None], slot, self.w1))
        out = torch.baddbmm(self.b2[:, None], h, self.w2).unflatten(1, (batch, slots))
        return torch.einsum("bnec,ebcd->bnd", combine, out)


class Block(nn.Module):
    def __init__(self, o):
        super().__init__()
        self.norm1, self.norm2, self.attention, self.mixture = nn.LayerNorm(o.width), nn.LayerNorm(o.width), Attention(o), Mixture(o)

    def forward(self, x):
        x = x + self.attention(self.norm1(x))
        y, loss = self.mixture(self.norm2(x))
        return x + y, loss


class Model(nn.Module):
    def __init__(self, o):
        super().__init__()
        self.token, self.position = nn.Embedding(o.vocabulary, o.width), nn.Embedding(o.block, o.width)
        self.blocks = nn.ModuleList(Block(o) for _ in range(o.layers))
        self.norm, self.head = nn.LayerNorm(o.width), nn.Linear(o.width, o.vocabulary)

    def forward(self, tokens, targets):
        x = self.token(tokens) + self.position.weight[: tokens.shape[1]]
        total = 0.0
        for block in self.blocks:
            x, loss = block(x)
            total = total + loss
        return total + F.cross_entropy(self.head(self.norm(x)).flatten(0, 1), targets.flatten())


def tokens_per_second(o, compiled):
    torch.manual_seed(1)
    model = Model(o).to(o.device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, betas=(0.9, 0.99), weight_decay=0.1, fused=o.device == "cuda")
    run = torch.compile(model) if compiled else model
    texts = torch.randint(o.vocabulary, (16, o.batch, o.block + 1), device=o.device)

    def step(i):
        text = texts[i % 16]
        run(text[:, :-1], text[:, 1:]).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()

    def wait():
        if o.device == "cuda":
            torch.cuda.synchronize()
    for i in range(min(o.steps, 5)):
        step(i)
    wait()
    start = time.perf_counter()
    for i in range(o.steps):
        step(i)
    wait()
    return o.steps * o.batch * o.block / (time.perf_counter() - start)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--name", required=True)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--capacity", type=float, default=0)
    for option, value in dict(layers=4, width=128, heads=4, experts=8, topk=2, block=64, batch=16, steps=100, vocabulary=100).items():
        parser.add_argument(f"--{option}", type=int, default=value)
    parser.add_argument("--no-compile", action="store_true")
    o = parser.parse_args()
    torch.backends.cuda.matmul.allow_tf32 = False
    for compiled in (False,) if o.no_compile else (False, True):
        torch._dynamo.reset()
        word = "compiled" if compiled else "eager"
        try:
            print(f"torch.lm.{o.name}.{word}.tokens {tokens_per_second(o, compiled):.6g} tokens/s", flush=True)
        except Exception as e:  # the eager number stays
            print(f"# lm.{o.name} {word} failed: {type(e).__name__}: {str(e)[:200]!r}", flush=True)


if __name__ == "__main__":
    main()
