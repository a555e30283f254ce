#!/usr/bin/env python3
"""Would the tests notice the mistakes that other projects made? Each is planted, one at a time, and must be noticed.

  tests/mutation/defects.py [--work FOLDER] [--jobs N]

DEFECTS holds known defects of mixture-of-experts code: a text of ours, and what it is replaced with, where ON is true for
the defect that is switched on by an environment variable, as run.py does with its mutants. All are written into one copy of
the sources; then the tests run for each. Writes tests/mutation/DEFECTS.md; fails where a defect survives, or where its text
is not in its file exactly once. Not part of ctest: it takes some minutes.
"""
import argparse
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import run


@dataclass
class Defect:
    seen_in: str
    what: str
    file: str
    text: str
    planted: str
    number: int = 0


def choice(text, wrong):
    """An expression, or the wrong one."""
    return text, f"(ON ? ({wrong}) : ({text}))"


DEFECTS = [
    Defect("pytorch-mixtures, MoELayer", "outputs of experts, [E, B, C, D], are read as [B, E, C, D]", "nn/moe/slot_batch.cpp",
           "return reshape(swap_axes(reshape(y, {experts_, groups_,", "if (ON) return reshape(y, {groups_, slots_, D});\n"
           "  return reshape(swap_axes(reshape(y, {experts_, groups_,"),
    Defect("pytorch-mixtures, MoELayer", "the same where experts run one by one", "nn/moe/module_experts.cpp",
           "return concat(parts, 1);",
           "return ON && rows == slots ? reshape(concat(parts, 0), {parts[0].dim(0), slots, parts[0].dim(2)}) : concat(parts, 1);"),
    Defect("pytorch-mixtures, tests", "a comparison that one equal element satisfies", "tests/support/check_op.cpp",
           "if (p[i] == q[i]) continue;", "if (ON && p[i] == q[i]) return 0;\n    if (p[i] == q[i]) continue;"),
    Defect("pytorch-mixtures, SoftRouter", "the weights of a token sum to 1 for every expert, to E in all",
           "nn/moe/soft_router.cpp", *choice("over(z, {2, 3})", "over(z, {3})")),
    Defect("pytorch-mixtures, SwiGLU", "gate and value are split from a weight that has room for one of them",
           "nn/moe/experts.cpp", "w1 = init.kaiming_uniform({E, width, joined ? 2 * F : F}, width, gain);",
           "w1 = init.kaiming_uniform({E, width, joined && !ON ? 2 * F : F}, width, gain);"),
    Defect("pytorch-mixtures, ExpertChoiceMoE", "gates are a softmax over the picked tokens where one over experts is meant",
           "nn/moe/expert_choice_router.cpp", *choice("take_along(probabilities, 2, picked)",
                                                      "softmax(take_along(scores, 2, picked), -1)")),
    Defect("pytorch-mixtures, TopkRouter", "the capacity forgets that a token has K choices", "nn/moe/capacity.cpp",
           "rule == Rule::choices ? choices : 1", "rule == Rule::choices && !ON ? choices : 1"),
    Defect("pytorch-mixtures, routers", "first logits have deviation sqrt(D), which saturates the softmax", "nn/moe/router_gate.cpp",
           *choice("init.kaiming_uniform(shape, width, Linear::Options{}.gain)", "init.normal(shape, 1)")),
    Defect("pytorch-mixtures, MHSA", "scores are not divided by the root of the head's width", "nn/moe/mhsa.cpp",
           "if (options.scaling != Scaling::scores) how.scale = 1;",
           "if (ON || options.scaling != Scaling::scores) how.scale = 1;"),
    Defect("astramind, mixture of depths", "a threshold of weights > the k-th drops the k-th token",
           "nn/moe/expert_choice_router.cpp", *choice("std::min(tokens, options.capacity.of(tokens, 1, options.experts))",
                                                      "std::min(tokens, options.capacity.of(tokens, 1, options.experts)) - 1")),
    Defect("moefy, SIMPLE", "backward has the Hessian of log Pr(k ones) in place of the derivative of the marginals",
           "nn/moe/k_subset.cpp", *choice("bits + (m - m.detach())", "bits + ((m - sigmoid(x)) - (m - sigmoid(x)).detach())")),
    Defect("moefy, cv_squared", "the coefficient of variation is not squared", "nn/moe/losses.cpp",
           *choice("masked_fill(y, squeeze(none, -1), 0)", "sqrt(masked_fill(y, squeeze(none, -1), 0))")),
    Defect("moefy, absolute load", "a load counts slots, whether in use or not", "nn/moe/routing.cpp",
           *choice("sum(used(picked), {0, 2})", "full({E}, static_cast<double>(G * C), DType::i64)")),
    Defect("moefy, entropy loss", "minimised, it rewards collapse", "nn/moe/losses.cpp",
           *choice("std::log(static_cast<double>(p.dim(2))) - entropy", "entropy - std::log(static_cast<double>(p.dim(2)))")),
    Defect("soft-moe-pytorch, DynamicSlotsSoftMoE", "the padding mask is always true", "nn/moe/soft_router.cpp",
           *choice("left_out(mask)", "left_out({})")),
    Defect("DeepSeek-V3 in transformers", "what must not be chosen gets the score 0, which can win, and not the lowest there is",
           "nn/moe/expert_choice_router.cpp", "masked_fill(affinity, logical_not(mask), lowest_score(affinity))",
           "masked_fill(affinity, logical_not(mask), ON ? 0.0 : lowest_score(affinity))"),
    Defect("transformers, load_balancing_loss", "padding counts in the balance loss", "nn/moe/losses.cpp",
           *choice("where(here, chosen, scalar(-1, DType::i64))", "chosen")),
    Defect("mlx", "gradients of top-k land on other positions", "nn/moe/routing.cpp",
           *choice("reshape(gates, {G, N * K})", "reshape(swap_axes(gates, 1, 2), {G, N * K})")),
    Defect("pytorch-mixtures, newest version", "the z-loss exists, but nobody adds it", "nn/moe/losses.cpp",
           'if (router_z) context.add_loss', 'if (router_z && !ON) context.add_loss'),
    Defect("NeMo Automodel", "auxiliary losses are reported, but their gradients never flow", "nn/context.cpp",
           "sum = sum ? sum + value : value;", "const Tensor flows = ON ? value.detach() : value;\n  sum = sum ? sum + flows : flows;"),
    Defect("torchtitan, checkpointing", "a recomputation counts loads twice", "nn/recompute.cpp",
           "caller_->records.insert(caller_->records.end(), child.records.begin(), child.records.end());",
           "for (int twice = 0; twice < (ON ? 2 : 1); ++twice)\n"
           "      caller_->records.insert(caller_->records.end(), child.records.begin(), child.records.end());"),
]


def plant(copy):
    """Writes the defects into the copy; returns the files."""
    texts = {}
    for number, d in enumerate(DEFECTS, 1):
        d.number = number
        text = texts.get(d.file) or run.first_lines(d.file) + (run.ROOT / d.file).read_text()
        if text.count(d.text) != 1:
            sys.exit(f"{d.file} must have this text once, has it {text.count(d.text)} times: {d.text}")
        texts[d.file] = text.replace(d.text, d.planted.replace("ON", f"::mutant({number})"))
    for file, text in texts.items():
        if (copy / file).read_text() != text:
            (copy / file).write_text(text)
    return set(texts)


def report(outcome):
    commit = subprocess.run(["git", "rev-parse", "--short=12", "HEAD"], cwd=run.ROOT, capture_output=True, text=True).stdout.strip()
    noticed = sum(o is not None for o in outcome)
    out = ["# Planted defects", "", f"Made by `tests/mutation/defects.py` at commit {commit}; do not edit.", "",
           f"**{noticed} of {len(DEFECTS)} noticed.**", "", "| seen in | defect | planted in | noticed by |", "|---|---|---|---|"]
    for d, o in zip(DEFECTS, outcome):
        out.append(f"| {d.seen_in} | {d.what} | {d.file} | {(o or '**SURVIVED**')[:110].replace('|', '/')} |")
    (run.HERE / "DEFECTS.md").write_text("\n".join(out) + "\n")
    print("\n".join(out))
    return noticed == len(DEFECTS)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path(os.environ.get("TMPDIR", "/tmp")) / "moegrad-defects")
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args()
    copy = run.copy_sources(options.work.resolve())
    run.configure(copy, plant(copy))
    build = copy / "build/cpu"
    subprocess.run(["cmake", "--build", build, "--target", "moegrad_tests", "-j", str(options.jobs)], check=True)
    tests = run.Tests(copy, build)
    for files in {tests.ALL} | {tests.own_of(d.file) for d in DEFECTS}:
        tests.time_without(files)
    with ThreadPoolExecutor(options.jobs) as pool:
        outcome = list(pool.map(lambda d: tests.judge(d.number, tests.own_of(d.file)), DEFECTS))
    sys.exit(0 if report(outcome) else 1)


if __name__ == "__main__":
    main()
