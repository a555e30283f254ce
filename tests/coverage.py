#!/usr/bin/env python3
"""Which op is checked how: writes tests/ops/COVERAGE.md from a run of the tests.

  tests/coverage.py PROGRAM            runs PROGRAM (moegrad_tests) on tests/ops and writes the table
  tests/coverage.py PROGRAM --check    compares with the table that is there; ctest does this

The public ops are read from the headers ops/*.h (ops/autodiff/ has tools, not ops). What was checked is what the tests
did: check_op (tests/support/) notes every check under the op that OpCheck::name gives, and every text that
CHECK_THROWS_WITH_AS saw counts for the op that it begins with. An empty cell needs a reason from REASONS; most follow from
the header, the rest are in BLANKS. Exits with 1 where a cell is empty without one, a reason is not needed, a name is no
op, or (--check) the table has changed.
"""
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TABLE = ROOT / "tests/ops/COVERAGE.md"

# Headers without ops of their own.
PARTS = {
    "attention_twin.h": "part of attention",
    "einsum_lower.h": "part of einsum",
    "einsum_parse.h": "part of einsum",
    "einsum_plan.h": "part of einsum",
    "loops.h": "kernels",
    "reduce_loops.h": "kernels",
    "ops.h": "includes the others",
}
# Functions on tensors that are no ops.
NO_OPS = {
    "scalar_like": "makes the second operand of x + 1.0",
    "check_whole": "a check",
    "check_loss_operands": "a check",
    "check_update_scalar": "a check",
    "reduce_loss": "the end of every loss",
    "lift_to_rows": "part of one_hot and einsum",
    "one_hot_of": "asks for the structure",
    "widen": "how an op takes bf16",
    "narrow": "how an op takes bf16",
    "einsum_path": "describes einsum",
}


# What an empty cell may be. A reason with a test follows from the header: it is given wherever the test holds.
# The others are given in BLANKS.
REASONS = {
    "no gradient": lambda op: re.search(r"Gradient:?\s+none", op.card),
    "no floats": lambda op: not re.search(r"f32|float|[Dd]types:?\s+any", op.card),
    "no tensor": lambda op: op.tensors == 0,
    "one tensor": lambda op: op.tensors == 1,
    "own shapes": lambda op: op.tensors > 1 and not re.search(r"[Bb]roadcast", op.card + op.about),
    "never throws": None,  # takes every tensor
    "in place": None,  # writes to its arguments, and there is nothing to differentiate
    "one number": None,  # takes a tensor [] only
}
DERIVED = {
    "dtypes": ["no floats"],
    "order": ["no gradient"],
    "strided": ["no tensor"],
    "broadcast": ["no tensor", "one tensor", "own shapes"],
    "empty": ["no tensor"],
    "error text": [],
}
BLANKS = {
    **{f"{rule}_update": {"order": "in place"} for rule in ("adagrad", "adam", "average", "lion", "rmsprop", "sgd")},
    "cast": {"error text": "never throws"},
    "contiguous": {"error text": "never throws"},
    "nonzero": {"error text": "never throws"},
    "count_up": {"order": "in place", "strided": "one number", "empty": "one number"},
}


class Op:
    def __init__(self, name, header):
        self.name, self.header = name, header
        self.card, self.about = "", ""  # the comments above it and above its header
        self.tensors = 0  # arguments that are tensors, in its widest overload
        self.cells = {c: "" for c in DERIVED}
        self.dtypes = set()

    def note(self, dtypes, order, strided, broadcast, empty):
        self.dtypes |= set(dtypes.split())
        self.cells["dtypes"] = " ".join(sorted(self.dtypes))
        if int(order) > int(self.cells["order"] or 0):
            self.cells["order"] = order
        for column, did in ("strided", strided), ("broadcast", broadcast), ("empty", empty):
            if did == "1":
                self.cells[column] = "yes"
        # where operands have shapes of their own, different ones are no broadcast
        if REASONS["own shapes"](self):
            self.cells["broadcast"] = ""


def without_bodies(text):
    """Blanks out what stands in braces, except those of the outermost `namespace moegrad`, and comments but ///."""
    text = re.sub(r"(?m)(?<!/)//(?!/).*$", "", text)
    text = re.sub(r"(?m)^\s*#(?:[^\n]*\\\n)*[^\n]*$", "", text)
    start = text.find("namespace moegrad {")
    out, depth = [], 0
    for c in text[start + len("namespace moegrad {"):]:
        if c == "{":
            depth += 1
            if depth == 1:
                out.append(";")
        elif c == "}":
            depth -= 1
            if depth < 0:
                break
            if depth == 0:
                out.append("\n")
        elif depth == 0:
            out.append(c)
    return "".join(out)


def public_ops():
    ops = {}
    for path in sorted((ROOT / "ops").glob("*.h")):
        if path.name in PARTS:
            continue
        text = path.read_text()
        # default arguments in braces are no bodies
        text = re.sub(r"=\s*\{[^{};]*\}", "", text)
        card, about = "", text.split("#pragma once")[0]
        for piece in re.split(r"((?:^[ \t]*///.*\n)+)", without_bodies(text), flags=re.M):
            if piece.lstrip().startswith("///"):
                card = piece
                continue
            for statement in piece.split(";"):
                m = re.match(r"\s*(?:inline\s+)?([\w:<>]+(?:\s+[&*])?)\s+(\w+)\s*\((.*)\)\s*(?:const)?\s*$", statement, re.S)
                if not m or statement.lstrip().startswith("template"):
                    continue
                result, name, arguments = m.groups()
                tensors = len(re.findall(r"const Tensor&", arguments))
                if re.search(r"(span|vector|initializer_list)<(const )?Tensor>", arguments):
                    tensors = max(tensors, 2)
                if tensors == 0 and result != "Tensor" or name in NO_OPS:
                    continue
                op = ops.setdefault(name, Op(name, path.stem))
                op.tensors = max(op.tensors, tensors)
                op.card, op.about = op.card + card, op.about + about
    return ops


def run_tests(program, ops):
    """Runs the tests of the ops; returns what is wrong with them."""
    with tempfile.TemporaryDirectory() as folder:
        notes, output = Path(folder, "notes"), Path(folder, "output")
        run = subprocess.run(
            [program, "--source-file=*tests/ops/*", "-s", f"--out={output}"],
            env={"OMP_WAIT_POLICY": "passive", **os.environ, "MOEGRAD_COVERAGE": str(notes)}, cwd=ROOT)
        if run.returncode != 0:
            return [f"{program} fails on tests/ops: run it to see why"]
        problems = []
        for line in notes.read_text(errors="replace").splitlines():
            kind, _, rest = line.partition("\t")
            if kind == "check":
                name, *values = rest.split("\t")
                if name in ops:
                    ops[name].note(*values)
                else:
                    problems.append(f"a check has the name '{name}', which is no op of ops/*.h")
            elif kind == "error" and (m := re.match(r'"?(\w+)', rest)) and m[1] in ops:
                ops[m[1]].cells["error text"] = "yes"
        return problems


def give_reasons(ops):
    """Fills empty cells with their reasons; returns those that have none, and reasons that are not needed."""
    problems = [f"BLANKS: '{name}' is no op" for name in BLANKS if name not in ops]
    for op in ops.values():
        listed = BLANKS.get(op.name, {})
        for column, reasons in DERIVED.items():
            cell, reason = op.cells[column], listed.get(column)
            blank = cell == "" or column == "order" and cell != "2" or column == "dtypes" and not {"f32", "f64"} <= op.dtypes
            if reason and reason not in REASONS:
                problems.append(f"{op.name}, {column}: '{reason}' is no known reason")
            elif reason and (not blank or REASONS[reason] and not REASONS[reason](op)):
                problems.append(f"{op.name}, {column}: the reason '{reason}' does not hold; there is '{cell}'")
            elif blank:
                reason = reason or next((r for r in reasons if REASONS[r](op)), None)
                if not reason:
                    problems.append(f"{op.name} (ops/{op.header}.h), {column}: '{cell}' needs a check or a reason")
                op.cells[column] = f"{cell} *{reason}*".lstrip()
    return problems


def table(ops):
    columns = list(DERIVED)
    lines = [
        "# What the tests check of every op",
        "",
        "Made by `tests/coverage.py build/cpu/moegrad_tests` from a run of the tests; do not edit. dtypes: of the inputs that",
        "the op was run on. order: of the highest gradient compared with central differences. strided, broadcast, empty: it",
        "was run on inputs with gaps, of different shapes, without elements. error text: the whole text of an error is",
        "tested. *Words in italics* are why there is nothing to check (*own shapes*: the card says which shapes the operands",
        "have, and nothing broadcasts).",
        "",
        "| op | header | " + " | ".join(columns) + " |",
        "|---|---|" + "---|" * len(columns),
    ]
    for op in ops.values():
        lines.append(f"| `{op.name}` | {op.header} | " + " | ".join(op.cells[c] for c in columns) + " |")
    return "\n".join(lines) + "\n"


def main():
    arguments = [a for a in sys.argv[1:] if a != "--check"]
    if len(arguments) != 1 or arguments[0].startswith("-"):
        sys.exit(__doc__)
    ops = public_ops()
    problems = run_tests(arguments[0], ops) or give_reasons(ops)
    text = table(ops)
    if "--check" not in sys.argv:
        TABLE.write_text(text)
    elif not TABLE.exists() or TABLE.read_text() != text:
        problems.append(f"{TABLE.relative_to(ROOT)} is out of date: run tests/coverage.py {arguments[0]}")
    for problem in sorted(set(problems)):
        print(problem)
    print(f"{len(ops)} ops, {len(set(problems))} problems")
    sys.exit(1 if problems else 0)


if __name__ == "__main__":
    main()
