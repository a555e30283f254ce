#!/usr/bin/env python3
"""Would the emulated GPU notice broken kernels? Each mistake is planted by itself into a copy, and must be noticed there.

  tests/mutation/kernels.py [--work FOLDER] [--jobs N] [--only TEXT] [--no-report]

PLANTS holds mistakes that kernels are prone to: a text of cuda/, and what it is replaced with. For each, what includes the
file is compiled again (preset cuda-on-cpu) and the named test files run on the device `cuda`, with the threads of a block in
forward, reverse and random order, then warp by warp, until one of these fails. Writes tests/mutation/KERNELS.md; fails where a mistake is not
noticed, or where its text is not in its file exactly once. Not part of ctest: it takes some minutes.
"""
import argparse
import os
import re
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import run

ORDERS = ["forward", "reverse", "random:1", "warps"]
SYNC = "__syncthreads();"


@dataclass
class Plant:
    kind: str
    what: str
    file: str
    text: str
    planted: str
    tests: str  # test files, below tests/, without _test.cpp


def without(text, part=SYNC):
    """The text, and the same without its last `part`."""
    at = text.rindex(part)
    return text, text[:at] + ";" + text[at + len(part):]


PLANTS = [
    Plant("off by one", "a grid-stride loop ends one element early", "cuda/elementwise.cuh",
          "for (i64 i = first_index(); i < n; i += grid_stride())\n    map_element(",
          "for (i64 i = first_index(); i < n - 1; i += grid_stride())\n    map_element(", "ops/arithmetic ops/unary"),
    Plant("off by one", "an inclusive scan leaves out a lane", "cuda/reduce.cuh",
          "if (lane_index() >= by) v = op(other, v);", "if (lane_index() > by) v = op(other, v);", "ops/cumsum ops/scan cuda/reduce"),
    Plant("off by one", "lanes of equal keys count themselves", "cuda/counting.cu", "((1u << lane) - 1)", "((2u << lane) - 1)",
          "ops/random ops/slots core/random_fill"),
    Plant("unwritten tail", "what is left after whole packs of 16 bytes is not written", "cuda/elementwise.cuh",
          "if (i < packs * V + rest) y[i] =", "if (i < packs * V + rest / V) y[i] =", "ops/arithmetic ops/unary"),
    Plant("unwritten tail", "the last accumulator of a column is lost", "cuda/reduce.cu", "      sum.close();\n    }", "    }",
          "cuda/reduce"),
    Plant("missing bound check", "columns beyond the last one are written", "cuda/reduce.cu",
          "if (i < plan.inner && grid.columns.group() == 0) y[", "if (grid.columns.group() == 0) y[", "cuda/reduce"),
    Plant("missing bound check", "random numbers are written one behind the end", "cuda/random_fill.cu",
          "if (b * kPer + k < n) y[", "if (b * kPer + k <= n) y[", "core/random_fill ops/random"),
    Plant("missing bound check", "a row's pack behind its end is read", "cuda/rows.cuh",
          "      if (i < n) {\n        const Pack<X, V> pack", "      if (i <= n) {\n        const Pack<X, V> pack",
          "ops/softmax ops/norm"),
    Plant("lost last block", "the last chunk of a long row is forgotten", "cuda/reduce.cu",
          "return {length, ceil_div(n, length)};", "return {length, n / length};", "cuda/reduce"),
    Plant("swapped strides", "every operand is read with the strides of the first", "cuda/elementwise.cuh",
          "of[k] += at * nest.strides[k][axis];", "of[k] += at * nest.strides[0][axis];", "ops/arithmetic"),
    Plant("wrong shared index", "every column gets the result of the first", "cuda/rows.cuh",
          "return shared[t % width];", "return shared[t / width];", "cuda/reduce cuda/rows"),
    Plant("wrong shared index", "a warp takes the total of its own for those before it", "cuda/reduce.cuh",
          "warp_index() == 0 ? 0 : warp_index() - 1", "warp_index()", "ops/nonzero cuda/order"),
    Plant("wrong identity", "warps that a block does not have count as 0 in a maximum", "cuda/softmax.cu",
          "s.top = team.reduce(s.top, LargerNumber{}, kLowest<F>);\n    const F shift", "s.top = team.reduce(s.top, LargerNumber{}, F(0));\n    const F shift",
          "ops/softmax cuda/rows"),
    Plant("wrong shuffle mask", "lanes shuffle that the mask does not name", "cuda/reduce.cuh",
          "__shfl_xor_sync(kAllLanes, v, with)", "__shfl_xor_sync(0x0000ffffu, v, with)", "cuda/reduce cuda/rows"),
    Plant("wrong shuffle mask", "the mask of a ballot has one lane too few", "cuda/counting.cu",
          "const unsigned set = __ballot_sync(kAllLanes, ", "const unsigned set = __ballot_sync(kAllLanes >> 1, ",
          "ops/random ops/slots core/random_fill"),
    Plant("missing __syncthreads", "partial results of warps are read before they are written", "cuda/reduce.cuh",
          *without("if (lane_index() == 0) partial[warp_index()] = v;\n  " + SYNC), "cuda/reduce cuda/rows"),
    Plant("missing __syncthreads", "a step of a tree reads what others have not added yet", "cuda/rows.cuh",
          *without("half /= 2) {\n      " + SYNC), "cuda/reduce cuda/rows"),
    Plant("missing __syncthreads", "digits are counted before the counts are cleared", "cuda/counting.cu",
          *without("found[d] = 0;\n  " + SYNC), "ops/random ops/slots core/random_fill"),
    Plant("missing __syncthreads", "the sum of a tile is read before the last thread wrote it", "cuda/counting.cu",
          *without("last = sum;\n      " + SYNC), "ops/random ops/slots core/random_fill"),
    Plant("race between two uses of shared memory", "a reduction begins while the one before is read", "cuda/reduce.cuh",
          *without("if (warps_of_block() == 1) return v;\n  " + SYNC), "ops/softmax cuda/rows cuda/reduce"),
    Plant("missing wait", "strips are multiplied before they have arrived", "cuda/strips.cuh",
          "    __pipeline_wait_prior(kLast - 1);\n", "", "cuda/grouped_outer"),
    Plant("missing wait", "the wait is for the strips before", "cuda/strips.cuh",
          "__pipeline_wait_prior(kLast - 1)", "__pipeline_wait_prior(kLast)", "cuda/grouped_outer"),
    Plant("missing __syncthreads", "strips are multiplied before others have copied their share", "cuda/strips.cuh",
          *without("__pipeline_wait_prior(kLast - 1);\n    " + SYNC), "cuda/grouped_outer"),
    Plant("race between two uses of shared memory", "results go through strips that others still multiply",
          "cuda/grouped_outer.cu", *without("add_strips<Tile, V>(sum, x, z, ring, adds);\n    " + SYNC), "cuda/grouped_outer"),
    Plant("missing __syncwarp", "results are read before other lanes have stored them", "cuda/tensor_tile.cuh",
          *without("mem_row_major);\n      __syncwarp();", "__syncwarp();"), "cuda/grouped_outer"),
    Plant("missing bound check", "the row behind a group is added", "cuda/strips.cuh", "r < rows_);", "r <= rows_);",
          "cuda/grouped_outer"),
    Plant("missing bound check", "columns of a tile's fringe are written", "cuda/tensor_tile.cuh",
          "if (r >= rows || c >= columns) continue;", "if (r >= rows || c > columns) continue;", "cuda/grouped_outer"),
    Plant("off by one", "the last band of tiles is taken for a whole one", "cuda/grouped_outer.cu",
          "down - first < kBand ? down - first : kBand", "kBand", "cuda/grouped_outer"),
    Plant("missing __syncthreads", "the gradient of scores is written over values that others still read", "cuda/attention_backward.cu",
          "__syncthreads();  // the values have been read", "", "cuda/attention"),
    Plant("missing __syncthreads", "rows are multiplied before all of a slab has been filled", "cuda/slab.cuh",
          *without("b_slab.hold(from_column(b, column));\n    " + SYNC), "cuda/attention"),
    Plant("off by one", "a tile is taken for wholly visible where the last key of one query is hidden", "cuda/attention.cuh",
          "diagonal >= kEdge<C> - 1", "diagonal >= kEdge<C> - 2", "cuda/attention ops/attention"),
    # (The same race between columns takes more than 2^20 blocks: no test has the time.)
    Plant("divergent barrier", "some threads leave before the others' barrier", "cuda/rows.cuh",
          "if (groups() == 1) return v;", "if (groups() == 1 || column() > 0) return v;", "cuda/reduce"),
    Plant("uninitialised shared memory", "counts of the first warp are not cleared", "cuda/counting.cu",
          "for (int w = 0; w < warps; ++w) in_warp[w][k] = 0;", "for (int w = 1; w < warps; ++w) in_warp[w][k] = 0;",
          "ops/random ops/slots core/random_fill"),
]


def configure(copy, tests):
    names = "|".join(sorted(tests))
    subprocess.run(["cmake", "--preset", "cuda-on-cpu", "-DMOEGRAD_EXAMPLES=OFF", f"-DMOEGRAD_TEST_FILES=/({names})_test.cpp$"],
                   cwd=copy, check=True, stdout=subprocess.DEVNULL)


def build(copy, jobs):
    """None, or the compiler's words."""
    made = subprocess.run(["cmake", "--build", "--preset", "cuda-on-cpu", "--target", "moegrad_tests", "-j", str(jobs)], cwd=copy,
                          capture_output=True, text=True)
    return None if made.returncode == 0 else "\n".join(re.findall(r".*error.*", made.stdout)[:3]) or made.stdout[-400:]


def test(copy, tests, order, seconds):
    """None where they pass, else why not."""
    files = ",".join(f"*tests/{t}_test.cpp" for t in tests)
    command = [str(copy / "build/cuda-on-cpu/moegrad_tests"), "--abort-after=1", "--no-intro", "--no-colors", f"--source-file={files}"]
    env = {**os.environ, "MOEGRAD_DEVICE": "cuda", "MOEGRAD_CUDA_CACHE": "0", "CUDA_ON_CPU_ORDER": order, "OMP_NUM_THREADS": "1"}
    try:
        done = subprocess.run(command, cwd=copy, capture_output=True, timeout=seconds, env=env)
    except subprocess.TimeoutExpired:
        return "takes too long"
    output = (done.stdout + done.stderr).decode(errors="replace")
    if done.returncode == 0:
        return None
    case = re.findall(r"TEST CASE:\s+(.*)", output)
    where = f": {case[0].strip()}" if case else ""
    return ("crash" if done.returncode < 0 or "fatal error" in output.lower() else "fails") + where


def there(copy, plant):
    return [t for t in plant.tests.split() if (copy / f"tests/{t}_test.cpp").exists()]


def judge(copy, plant, jobs, seconds):
    """(what the compiler or a test said, or None; the order in which)."""
    file = copy / plant.file
    original = file.read_text()
    if original.count(plant.text) != 1:
        sys.exit(f"{plant.file} must have this text once, has it {original.count(plant.text)} times:\n{plant.text}")
    try:
        file.write_text(original.replace(plant.text, plant.planted))
        if problem := build(copy, jobs):
            sys.exit(f"{plant.what} does not compile:\n{problem}")
        for order in ORDERS:
            if problem := test(copy, there(copy, plant), order, seconds):
                return problem, order
        return None, ""
    finally:
        file.write_text(original)


def report(plants, outcome):
    commit = subprocess.run(["git", "rev-parse", "--short=12", "HEAD"], cwd=run.ROOT, capture_output=True, text=True).stdout.strip()
    noticed = sum(o is not None for o, _ in outcome)
    out = ["# Planted kernel bugs", "", f"Made by `tests/mutation/kernels.py` at commit {commit}; do not edit.", "",
           f"**{noticed} of {len(plants)} noticed** by the emulated GPU (`tests/cuda_on_cpu/`), each by the tests of its ops alone.", "",
           "| kind | mistake | planted in | order of threads | noticed by |", "|---|---|---|---|---|"]
    for p, (why, order) in zip(plants, outcome):
        out.append(f"| {p.kind} | {p.what} | {p.file} | {order} | {(why or '**MISSED**')[:110].replace('|', '/')} |")
    return out, noticed == len(plants)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path(os.environ.get("TMPDIR", "/tmp")) / "moegrad-kernels")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--only", default="", help="plants whose kind, mistake or file contains this")
    parser.add_argument("--no-report", action="store_true", help="print the table, and do not write it")
    options = parser.parse_args()
    plants = [p for p in PLANTS if options.only in p.kind + p.what + p.file]
    copy = run.copy_sources(options.work.resolve())
    tests = {t for p in plants for t in there(copy, p)}
    configure(copy, tests)
    if problem := build(copy, options.jobs):
        sys.exit(f"The copy does not build:\n{problem}")
    start = time.monotonic()
    for order in ORDERS:
        if problem := test(copy, sorted(tests), order, 1200):
            sys.exit(f"Without a plant, the tests do not pass in order {order}: {problem}")
    seconds = 10 + time.monotonic() - start  # for some of the tests; a broken sort may never end
    outcome = []
    for plant in plants:
        outcome.append(judge(copy, plant, options.jobs, seconds))
        why, order = outcome[-1]
        print(f"{'caught' if why else 'MISSED':<8} {plant.kind}: {plant.what} ({plant.file})  {order} {why or ''}", flush=True)
    lines, all_noticed = report(plants, outcome)
    print("\n" + "\n".join(lines))
    if not options.no_report and not options.only:
        (run.HERE / "KERNELS.md").write_text("\n".join(lines) + "\n")
    sys.exit(0 if all_noticed else 1)


if __name__ == "__main__":
    main()
