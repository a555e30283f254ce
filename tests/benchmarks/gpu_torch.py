#!/usr/bin/env python3
"""The layers of bench_gpu_moe as PyTorch runs them: the equations of the references, forward and backward.

  tests/benchmarks/gpu_torch.py [--small] [--device cpu] [--only TEXT] [--no-compile] [--seconds N]

capacity   GShard's top-2 with capacity 1.25 as ST-MoE and pytorch-mixtures compute it: one-hot dispatch and combine
           tensors [N, E, C], einsums with them, experts one after another
dropless   pytorch-mixtures, TopkMoE: for every expert the rows of its tokens, added up in place
choice     the expert-choice notebook and pytorch-mixtures: top-k over the tokens of a row, one-hot, einsums
soft       soft-moe-pytorch, SoftMoE: softmax over tokens and over slots, einsums, experts one after another
depths     pytorch-mixtures, MoDLayer: one-hot dispatch of an eighth of the tokens to one feed-forward layer

Each eager and under torch.compile, in bf16 and in f32 (TF32 is off); routers decide in f32. Prints lines `name value unit`
like bench_gpu_moe. After the given seconds it starts nothing new.
"""
import argparse
import statistics
import sys
import time

import torch
import torch.nn.functional as F
from torch import nn

OPTIONS = None


def report(name, value, unit):
    print(f"torch.{name} {value:.6g} {unit}", flush=True)


# ---- time

def synchronize():
    if OPTIONS.device == "cuda":
        torch.cuda.synchronize()


def milliseconds_of(run, times):
    if OPTIONS.device != "cuda":
        start = time.perf_counter()
        for _ in range(times):
            run()
        return 1e3 * (time.perf_counter() - start) / times
    start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    start.record()
    for _ in range(times):
        run()
    end.record()
    end.synchronize()
    return start.elapsed_time(end) / times


def milliseconds(run):
    """Of one run: the median of several rounds."""
    run()
    synchronize()
    once = milliseconds_of(run, 1 if OPTIONS.small else 3)
    times = 1 if OPTIONS.small else max(1, min(1000, int(60 / once)))
    return statistics.median(milliseconds_of(run, times) for _ in range(1 if OPTIONS.small else 7))


# ---- layers

class Expert(nn.Module):
    def __init__(self, width, hidden, bias):
        super().__init__()
        self.up, self.down = nn.Linear(width, hidden, bias=bias), nn.Linear(hidden, width, bias=bias)

    def forward(self, x):
        return self.down(F.gelu(self.up(x)))


def experts_of(s, bias=False):
    return nn.ModuleList(Expert(s.width, s.hidden, bias) for _ in range(s.experts))


def in_turn(experts, slots):
    """slots [E, .., D]: every expert on its own."""
    return torch.stack([expert(rows) for expert, rows in zip(experts, slots)])


def gate(width, experts):
    return nn.Linear(width, experts, bias=False)


def scores(layer, x):
    return F.linear(x.float(), layer.weight.float())


def losses(logits, probabilities, chosen, experts):
    """Switch's load-balancing loss and ST-MoE's z-loss."""
    share = F.one_hot(chosen, experts).float().mean(dim=(0, 1))
    balance = experts * (share * probabilities.mean(dim=0)).sum()
    return 0.01 * balance + 0.01 * torch.logsumexp(logits, dim=-1).square().mean()


class Capacity(nn.Module):
    def __init__(self, s):
        super().__init__()
        self.gate, self.experts, self.slots = gate(s.width, s.experts), experts_of(s), -(-5 * s.tokens * 2 // (4 * s.experts))

    def forward(self, x):
        x = x[0]
        experts, slots = len(self.experts), self.slots
        logits = scores(self.gate, x)
        probabilities = logits.softmax(dim=-1)
        top, chosen = probabilities.topk(2, dim=-1)
        top = top / top.sum(dim=-1, keepdim=True)
        # Places of an expert: first choices before second ones, tokens in their order.
        first, second = F.one_hot(chosen[:, 0], experts), F.one_hot(chosen[:, 1], experts)
        place_1 = ((first.cumsum(dim=0) - first) * first).sum(dim=-1)
        place_2 = ((second.cumsum(dim=0) - second + first.sum(dim=0, keepdim=True)) * second).sum(dim=-1)
        combine = 0
        for place, picked, gates in ((place_1, first, top[:, 0]), (place_2, second, top[:, 1])):
            fits = (place < slots).to(gates.dtype)
            at = F.one_hot(place.clamp(max=slots - 1), slots).to(x.dtype)
            combine = combine + (gates * fits).to(x.dtype)[:, None, None] * picked.to(x.dtype)[..., None] * at[:, None, :]
        dispatch = combine.bool().to(x.dtype)
        rows = torch.einsum("nd,nec->ecd", x, dispatch)
        y = torch.einsum("ecd,nec->nd", in_turn(self.experts, rows), combine)
        return y[None], losses(logits, probabilities, chosen, experts)


class Dropless(nn.Module):
    def __init__(self, s):
        super().__init__()
        self.gate, self.experts = gate(s.width, s.experts), experts_of(s)

    def forward(self, x):
        x = x[0]
        logits = scores(self.gate, x)
        top, chosen = logits.topk(2, dim=-1)
        gates = top.softmax(dim=-1).to(x.dtype)
        y = torch.zeros_like(x)
        for e, expert in enumerate(self.experts):
            token, choice = torch.where(chosen == e)
            y = y.index_add(0, token, gates[token, choice, None] * expert(x[token]))
        return y[None], losses(logits, logits.softmax(dim=-1), chosen, len(self.experts))


class Choice(nn.Module):
    def __init__(self, s):
        super().__init__()
        self.gate, self.experts, self.slots = gate(s.width, s.experts), experts_of(s), 2 * s.tokens // s.experts

    def forward(self, x):
        logits = scores(self.gate, x)
        gates, picked = logits.softmax(dim=-1).transpose(1, 2).topk(self.slots, dim=-1)  # [B, E, C]
        dispatch = F.one_hot(picked, x.shape[1]).to(x.dtype)  # [B, E, C, N]
        rows = torch.einsum("becn,bnd->ebcd", dispatch, x)
        out = in_turn(self.experts, rows) * gates.to(x.dtype).transpose(0, 1)[..., None]
        return torch.einsum("becn,ebcd->bnd", dispatch, out), 0.01 * torch.logsumexp(logits, dim=-1).square().mean()


class RootMeanSquare(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(width))

    def forward(self, x):
        return F.normalize(x, dim=-1) * x.shape[-1] ** 0.5 * self.gamma


class Soft(nn.Module):
    def __init__(self, s):
        super().__init__()
        self.norm, self.slot_norm = RootMeanSquare(s.width), RootMeanSquare(s.width)
        self.slots = nn.Parameter(torch.randn(s.experts, s.tokens // s.experts, s.width))
        self.experts = experts_of(s, bias=True)

    def forward(self, x):
        x = self.norm(x)
        logits = torch.einsum("bnd,esd->bnes", x, self.slot_norm(self.slots))
        dispatch, combine = logits.softmax(dim=1), logits.flatten(2).softmax(dim=-1)
        rows = torch.einsum("bnd,bnes->ebsd", x, dispatch)
        out = in_turn(self.experts, rows).transpose(0, 1).flatten(1, 2)
        return torch.einsum("bsd,bns->bnd", out, combine), None


class Depths(nn.Module):
    def __init__(self, s):
        super().__init__()
        self.gate, self.block, self.slots = gate(s.width, 1), Expert(s.width, s.hidden, True), max(1, s.tokens // 8)

    def forward(self, x):
        logits = scores(self.gate, x)[..., 0]
        gates, picked = logits.topk(self.slots, dim=-1)
        dispatch = F.one_hot(picked, x.shape[1]).to(x.dtype)  # [B, C, N]
        rows = torch.einsum("bcn,bnd->bcd", dispatch, x)
        y = torch.einsum("bcn,bcd->bnd", gates.to(x.dtype)[..., None] * dispatch, self.block(rows))
        return x + y, 0.01 * logits.square().mean()


class Sizes:
    def __init__(self, groups, tokens, width, hidden, experts):
        self.groups, self.tokens, self.width, self.hidden, self.experts = groups, tokens, width, hidden, experts


LARGE, MANY = Sizes(1, 16384, 2048, 8192, 8), Sizes(16, 1024, 512, 2048, 16)
SMALL_LARGE, SMALL_MANY = Sizes(1, 64, 16, 32, 4), Sizes(2, 32, 16, 32, 4)
# Those whose compiled form has the most to say come first, in case the time ends.
LAYERS = [("capacity", Capacity, True), ("soft", Soft, False), ("choice", Choice, False), ("dropless", Dropless, True),
          ("depths", Depths, False)]


# ---- measuring

def step_of(layer, x, dy):
    leaves = [x, *layer.parameters()]

    def step(run):
        y, loss = run(x)
        outputs, gradients = ([y], [dy]) if loss is None else ([y, loss], [dy, torch.ones_like(loss)])
        torch.autograd.grad(outputs, leaves, gradients)
    return step


def measure(name, kind, s, dtype, compiled):
    torch.manual_seed(1)
    layer = kind(s).to(OPTIONS.device, dtype)
    x = (0.02 * torch.randn(s.groups, s.tokens, s.width, device=OPTIONS.device)).to(dtype).requires_grad_()
    dy = (0.02 * torch.randn_like(x)).detach()
    step = step_of(layer, x, dy)
    torch._dynamo.reset()
    run = torch.compile(layer) if compiled else layer
    report(f"{name}.{'compiled' if compiled else 'eager'}.time", milliseconds(lambda: step(run)), "ms")
    if OPTIONS.device == "cuda" and not compiled:
        report(f"{name}.peak", torch.cuda.max_memory_allocated() * 1e-9, "GB")


def measure_device():
    n = 64 if OPTIONS.small else 8192
    for word, dtype in (("bf16", torch.bfloat16), ("f32", torch.float32)):
        a, b = (0.02 * torch.randn(2, n, n, device=OPTIONS.device)).to(dtype)
        report(f"gemm.{word}.{n}", 2 * n ** 3 / milliseconds(lambda: a @ b) * 1e-9, "TFLOP/s")
    x = torch.zeros(1024 if OPTIONS.small else 1 << 29, device=OPTIONS.device)
    y = torch.empty_like(x)
    report("copy", 8 * x.numel() / milliseconds(lambda: y.copy_(x)) * 1e-6, "GB/s")


def attempt(name, kind, large, dtype, compiled):
    """False where it failed; the others go on."""
    if OPTIONS.only not in name:
        return True
    if time.monotonic() > OPTIONS.end:
        print(f"# {name} {'compiled' if compiled else 'eager'}: not started, the time is over", flush=True)
        return True
    sizes = (SMALL_LARGE if large else SMALL_MANY) if OPTIONS.small else (LARGE if large else MANY)
    try:
        measure(name, kind, sizes, dtype, compiled)
        return True
    except Exception as e:
        print(f"# {name} {'compiled' if compiled else 'eager'} failed: {type(e).__name__}: {str(e)[:200]!r}", flush=True)
        return False
    finally:
        if OPTIONS.device == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()


def main():
    global OPTIONS
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", action="store_true", help="tiny sizes, to see that it works")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--only", default="")
    parser.add_argument("--no-compile", action="store_true")
    parser.add_argument("--seconds", type=float, default=240)
    OPTIONS = parser.parse_args()
    OPTIONS.end = time.monotonic() + OPTIONS.seconds
    torch.backends.cuda.matmul.allow_tf32 = False
    print(f"# PyTorch {torch.__version__}", flush=True)
    if not OPTIONS.only:
        measure_device()
    failed = False
    for compiled in (False,) if OPTIONS.no_compile else (False, True):
        for kind_name, kind, large in LAYERS:
            for word, dtype in (("bf16", torch.bfloat16), ("f32", torch.float32)):
                failed |= not attempt(f"{kind_name}.{word}", kind, large, dtype, compiled)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
