#!/usr/bin/env python3
"""Do the tests notice wrong code? A mutation run over the gradients, the routes and the lowering of einsum.

  tests/mutation/run.py [--work FOLDER] [--jobs N] [--sample 200] [--seed 1] [--list]

Copies the sources to FOLDER, writes a seeded sample of mutants into the copy (sites.py finds them: a changed sign, a
dropped term, swapped operands, a number or a loop bound off by one), builds that once, and runs the tests for each mutant,
which an environment variable switches on: the test file of the mutated module first, then all of them, up to the first
failure (those of ops/ and nn/). A crash and a run that takes too long count as noticed. Writes tests/mutation/RESULTS.md. Not part of ctest: it
takes half an hour on two idle cores.

The sample takes the groups and kinds in turn; within them the order is that of a hash of seed and mutant, so that it
hardly changes when other code does. Mutants that do not compile are replaced by the next ones. EQUIVALENT.txt lists
survivors that no test could notice, with the proof. One more mutant stands in a function that nothing calls: it must
survive, or the run itself is broken.
"""
import argparse
import hashlib
import json
import os
import re
import resource
import shutil
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import sites

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
RULE = r"\((?:const char\* \w+, (?:Op \w+, )?)?const GradArgs& \w+[^()]*\)|\bconst GradArgs& \w+[^()]*\)"
FUNCTION = r"(?m)^(?:[\w:&*<> ]*[\w&*>] )?[\w:]+\("
DERIVATIVE = r"(?m)^[\w:&*<>, ]*\b\w*(?:gradient|backward|twin|slope)\w*\("
# The part of einsum.cpp that carries a plan out; the rest reads equations and describes plans.
LOWERING = ["fit_operand", "lower", "fitted", "run_dense", "run_structured", "einsum"]
GROUPS = {"gradients": 80, "routes": 60, "einsum": 60}  # of a sample of 200
PLANTED = "\nnamespace moegrad {\nint nobody_calls_this(int a, int b) { return ::mutant(%d) ? a - b : a + b; }\n}\n"
MEMORY = 8 << 30  # bytes of address space for a run of the tests


def regions(name, source):
    """(group, begin, end) of what is mutated in a file."""
    code = source.code
    if name in ("ops/routes.cpp", "ops/route_loop.cpp"):
        yield from (("routes", *b) for b in sites.bodies(code, FUNCTION))
    elif name == "ops/einsum_lower.cpp":
        yield from (("einsum", *b) for b in sites.bodies(code, FUNCTION))
    elif name == "ops/einsum.cpp":
        for function in LOWERING:
            found = sites.bodies(code, FUNCTION.replace(r"[\w:]+\(", function + r"\("))
            if not found:
                sys.exit(f"{name} has no function {function}: bring LOWERING up to date")
            yield from (("einsum", *b) for b in found)
    elif name == "core/walk.cpp":
        yield from (("gradients", *b) for b in sites.bodies(code, FUNCTION))
    elif name.startswith("ops/"):
        for head in r"\([^()]*\bconst GradArgs& \w+[^()]*\)", DERIVATIVE:
            yield from (("gradients", *b) for b in sites.bodies(code, head))


def candidates(copy):
    sources, mutants = {}, []
    for path in sorted([*copy.glob("ops/**/*.cpp"), *copy.glob("ops/**/*.h"), copy / "core/walk.cpp"]):
        name = str(path.relative_to(copy))
        source = sites.Source(name, path.read_text())
        for group, begin, end in regions(name, source):
            source.find(begin, end, group)
        unique = {str(m.edits): m for m in reversed(source.mutants)}
        source.mutants = sorted(unique.values(), key=lambda m: (m.edits[0][0], m.kind, m.what))
        sources[name] = source
        mutants += source.mutants
    sites.name_all(mutants)
    return sources, mutants


def queues(mutants, seed):
    """Per group the order in which mutants are taken: kinds in turn, by the hash within a kind."""
    def order(m):
        return hashlib.sha256(f"{seed} {m.id}".encode()).hexdigest()
    result = {}
    for group in GROUPS:
        kinds = [sorted((m for m in mutants if m.group == group and m.kind == k), key=order) for k in sites.KINDS]
        result[group] = [k[i] for i in range(max(map(len, kinds))) for k in kinds if i < len(k)]
    return result


# ---- the build

def copy_sources(work):
    listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=True)
    copy = work / "source"
    for name in listed.stdout.split("\n"):
        source = ROOT / name
        if name and source.is_file():
            target = copy / name
            if not target.exists() or target.read_bytes() != source.read_bytes():
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(source, target)
                shutil.copymode(source, target)
    for path in [p for folder in ("core", "ops", "nn", "cuda", "tests") for p in (copy / folder).rglob("*.*")]:
        if not (ROOT / path.relative_to(copy)).exists():
            path.unlink()  # gone since an earlier run
    shutil.copyfile(HERE / "mutant.h", copy / "mutant.h")
    return copy


def first_lines(name):
    lines = '#include "mutant.h"\n'
    return lines + '#include "ops/unary.h"\n' if name.startswith("ops/") and name.endswith(".cpp") else lines


def own_header(name):
    """Where the mutants of a header go: a second copy, for the .cpp of the same name. All else keeps the header."""
    return re.sub(r"\.h$", "_mutants.h", name)


def write(copy, sources, name, mutants, planted=""):
    """Writes a file with its mutants; returns the mutant of each line."""
    text, owners = sources[name].instrumented([m for m in mutants if m.file == name], first_lines(name))
    header = re.sub(r"\.cpp$", ".h", name)
    if header != name and any(m.file == header for m in mutants):
        text = text.replace(f'#include "{header}"', f'#include "{own_header(header)}"')
    path = copy / own_header(name)
    if not path.exists() or path.read_text() != text + planted:
        path.write_text(text + planted)
    return owners


def configure(copy, files=()):
    """As the preset cpu does; `files` quickly and without warnings, and all others come out of ccache."""
    if files:
        with open(copy / "CMakeLists.txt", "a") as lists:
            lists.write(f"set_source_files_properties({' '.join(sorted(files))} PROPERTIES COMPILE_OPTIONS \"-w;-O1\")\n")
    subprocess.run(["cmake", "--preset", "cpu", "-DMOEGRAD_EXAMPLES=OFF", "-DCMAKE_EXPORT_COMPILE_COMMANDS=ON"], cwd=copy,
                   check=True, stdout=subprocess.DEVNULL)
    commands = json.loads((copy / "build/cpu/compile_commands.json").read_text())
    return {str(Path(c["file"]).relative_to(copy)): c for c in commands if Path(c["file"]).is_relative_to(copy)}


def compile_errors(copy, commands, sources, name, mutants):
    """Numbers of those of the mutants in `name` that do not compile."""
    owners = write(copy, sources, name, mutants)
    unit = re.sub(r"\.h$", ".cpp", name)
    if unit != name:
        write(copy, sources, unit, [m for m in mutants if m.file == unit] + mutants)
    command = commands[unit]
    words = re.sub(r"^.*?ccache\s+|\s-M(?:D|[TF] \S+)| -o \S+", " ", command["command"])
    run = subprocess.run(f"{words} -w -fsyntax-only -fmax-errors=0", shell=True, cwd=command["directory"],
                         capture_output=True, text=True)
    if run.returncode == 0:
        return set()
    if len(mutants) == 1:
        return {mutants[0].number}
    bad = set()  # those on the lines that the compiler names: of the error, or of the template's use
    for block in re.split(r"\n(?=\S+?:\d+:\d+: (?:fatal )?error:)|(?<=\n)(?=\S+: In )", run.stderr):
        lines = [int(n) for f, n in re.findall(r"(?m)^\s*(?:from )?(\S+?):(\d+):\d+:.*$", block) if f.endswith(own_header(name))]
        owned = [owners[n - 1] for n in lines if n <= len(owners) and owners[n - 1]]
        if "error:" in block and owned:
            bad.add(owned[0])
    if bad:
        return bad
    half = len(mutants) // 2
    return set().union(*(compile_errors(copy, commands, sources, name, m) for m in (mutants[:half], mutants[half:])))


def choose(copy, commands, sources, order, sample, memory):
    """The first mutants of every queue that compile, numbered from 1; and those that do not. What the compiler said of a
    file is kept in the file `memory`, for the next run."""
    verdicts = json.loads(memory.read_text()) if memory.exists() else {}
    for source in sources.values():
        source.verdict = verdicts.setdefault(hashlib.sha256(source.text.encode()).hexdigest(), {"good": [], "bad": []})
    rejected = {i for source in sources.values() for i in source.verdict["bad"]}
    while True:
        chosen = []
        for group, share in GROUPS.items():
            chosen += [m for m in order[group] if m.id not in rejected][: share * sample // 200]
        for number, m in enumerate(chosen, 1):
            m.number = number
        by_number = {m.number: m for m in chosen}
        unclear = {m.file for m in chosen if m.id not in sources[m.file].verdict["good"]}
        if not unclear:
            return chosen, rejected
        units = {}  # a header and its .cpp after one another, all else side by side
        for name in sorted(unclear):
            units.setdefault(re.sub(r"\.h$", ".cpp", name), []).append(name)

        def check(names):
            for name in names:
                some, verdict = [m for m in chosen if m.file == name], sources[name].verdict
                bad = {by_number[n].id for n in compile_errors(copy, commands, sources, name, some)}
                print(f"  {name}: {len(some)} mutants, {len(bad)} do not compile", flush=True)
                verdict["bad"] += bad
                if not bad:
                    verdict["good"] = [m.id for m in some]
        with ThreadPoolExecutor(2 * os.cpu_count()) as pool:
            list(pool.map(check, units.values()))
        rejected |= {i for name in unclear for i in sources[name].verdict["bad"]}
        memory.write_text(json.dumps(verdicts))


# ---- the tests

class Tests:
    ALL = "tests/ops/*,*tests/nn/*"

    def __init__(self, copy, build):
        self.copy, self.program = copy, build / "moegrad_tests"
        text = (copy / "CMakeLists.txt").read_text()
        self.own, self.seconds = {}, {}
        for folder, name, options in re.findall(r"moegrad_(core|op|nn)\((\S+?)((?:\s[^)]*)?)\)", text):
            tested = re.search(r"TESTED_BY (\S+)", options)
            file = f"{'ops' if folder == 'op' else folder}/{name}"
            self.own[file] = tested[1] if tested else f"tests/{file}_test.cpp"
        self.own["core/walk"] = "tests/core/autograd*"
        self.own["ops/routes"] = self.own["ops/route_loop"] = "tests/ops/one_hot_test.cpp,*tests/ops/structured_einsum_test.cpp,*tests/ops/gather_test.cpp"
        self.own["ops/einsum_lower"] = self.own["ops/einsum"] = "tests/ops/einsum_test.cpp,*tests/ops/structured_einsum_test.cpp"

    def run(self, number, files, seconds):
        """None where the tests pass, else why they do not."""
        def limits():
            resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 5))
            resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        command = [str(self.program), "--abort-after=1", "--no-intro", "--no-colors", f"--source-file=*{files}"]
        try:
            run = subprocess.run(command, cwd=self.copy, capture_output=True, timeout=20 * seconds, preexec_fn=limits,
                                 env={**os.environ, "MOEGRAD_MUTANT": str(number), "OMP_WAIT_POLICY": "passive"})
        except subprocess.TimeoutExpired:
            return "takes too long"
        output = run.stdout.decode(errors="replace")
        if run.returncode == 0:
            return None
        case = re.findall(r"TEST CASE:\s+(.*)", output)
        where = f": {case[-1].strip()}" if case else ""
        if run.returncode in (-24, -9) or "SIGXCPU" in output:
            return "takes too long" + where
        return ("crash" if run.returncode < 0 or "fatal error" in output.lower() else "fails") + where

    def own_of(self, file):
        return self.own.get(re.sub(r"\.(cpp|h)$", "", file))

    def time_without(self, files):
        """Notes the seconds of processor time that the tests take without a mutant; they must pass."""
        if files and files not in self.seconds:
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            if problem := self.run(0, files, 3000):
                sys.exit(f"Without a mutant, {files} do not pass: {problem}")
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            self.seconds[files] = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime

    def judge(self, number, own=None):
        """Why the tests notice a mutant, or None: its own first, then all."""
        for files in own, self.ALL:
            if files and (problem := self.run(number, files, int(10 * self.seconds[files]) + 10)):
                return problem
        return None


# ---- the report

def proofs():
    lines = [l.split(None, 1) for l in (HERE / "EQUIVALENT.txt").read_text().splitlines()]
    return {l[0]: l[1] for l in lines if l and not l[0].startswith("#")}


def cell(text):
    return "`" + re.sub(r"\s+", " ", text).replace("|", "\\|").replace("`", "'") + "`"


def report(options, all_mutants, chosen, rejected, outcome, seconds):
    proved = proofs()
    survivors = [m for m in chosen if outcome[m.id] is None]
    equivalent = [m for m in survivors if m.id in proved]
    killed = len(chosen) - len(survivors)
    commit = subprocess.run(["git", "rev-parse", "--short=12", "HEAD"], cwd=ROOT, capture_output=True, text=True).stdout.strip()
    out = ["# Mutation run", "",
           f"Made by `tests/mutation/run.py --sample {options.sample} --seed {options.seed}` at commit {commit}; do not edit.",
           f"{len(all_mutants)} possible mutants, {len(chosen)} tried; {len(rejected)} that do not compile were passed over.",
           "", f"**{killed} of {len(chosen)} noticed: {100 * killed / len(chosen):.1f} %.** {len(survivors)} survived, "
           f"{len(equivalent)} of them equivalent: {100 * killed / (len(chosen) - len(equivalent)):.1f} % of those that can "
           "be noticed.", f"The mutant that was planted where no test looks survived, as it must. {seconds / 60:.0f} minutes.",
           "", "| kind | " + " | ".join(GROUPS) + " |", "|---|" + "---|" * len(GROUPS)]
    for kind in sites.KINDS:
        row = []
        for group in GROUPS:
            some = [m for m in chosen if m.kind == kind and m.group == group]
            row.append(f"{sum(outcome[m.id] is not None for m in some)} of {len(some)}")
        out.append(f"| {kind} | " + " | ".join(row) + " |")
    how = Counter(outcome[m.id].split(":")[0] for m in chosen if outcome[m.id])
    out += ["", "Noticed by: " + ", ".join(f"{how[k]} {k}" for k in sorted(how)) + ".", "", "## Survivors", ""]
    for m in survivors:
        out.append(f"- {m.id} {m.file}:{m.line}, {m.kind}: {cell(m.what)}  ")
        out.append(f"  equivalent: {proved[m.id]}" if m.id in proved else "  **not equivalent: a test is missing**")
    if not survivors:
        out.append("None.")
    out += ["", "## All", "", "| id | place | kind | change | noticed by |", "|---|---|---|---|---|"]
    for m in sorted(chosen, key=lambda m: (m.file, m.line)):
        out.append(f"| {m.id} | {m.file}:{m.line} | {m.kind} | {cell(m.what)} | {(outcome[m.id] or 'SURVIVED')[:90].replace('|', '/')} |")
    (HERE / "RESULTS.md").write_text("\n".join(out) + "\n")
    print("\n".join(out[: out.index("## All")]))
    return killed, survivors


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path(os.environ.get("TMPDIR", "/tmp")) / "moegrad-mutation")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--sample", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--list", action="store_true", help="print the sample and stop")
    options = parser.parse_args()
    start = time.time()
    copy = copy_sources(options.work.resolve())
    build = copy / "build/cpu"
    sources, mutants = candidates(copy)
    commands = configure(copy)
    print(f"{len(mutants)} possible mutants: {dict(Counter(m.group for m in mutants))}", flush=True)
    order = queues(mutants, options.seed)
    chosen, rejected = choose(copy, commands, sources, order, options.sample, copy.parent / "compiled.json")
    units = {re.sub(r"\.h$", ".cpp", m.file) for m in chosen}
    for name in units | {m.file for m in chosen}:
        write(copy, sources, name, chosen)
    planted = len(chosen) + 1
    write(copy, sources, "ops/routes.cpp", chosen, PLANTED % planted)
    if options.list:
        for m in chosen:
            print(f"{m.number:4} {m.id} {m.file}:{m.line} {m.kind}: {m.what}")
        return
    configure(copy, units)
    subprocess.run(["cmake", "--build", build, "--target", "moegrad_tests", "-j", str(options.jobs)], check=True)

    tests = Tests(copy, build)
    for files in [Tests.ALL, *sorted({tests.own_of(m.file) or "" for m in chosen})]:
        tests.time_without(files)
    print(f"without a mutant the tests pass, in {tests.seconds[Tests.ALL]:.0f} s of processor time", flush=True)
    if problem := tests.judge(planted):
        sys.exit(f"The planted mutant, which no test can see, was noticed: {problem}")

    def judge(m):
        outcome = tests.judge(m.number, tests.own_of(m.file))
        print(f"{m.number:4} {m.id} {m.file}:{m.line} {m.kind}: {m.what[:90]}: {outcome or 'SURVIVED'}", flush=True)
        return outcome
    with ThreadPoolExecutor(options.jobs) as pool:
        outcome = dict(zip((m.id for m in chosen), pool.map(judge, chosen)))
    report(options, mutants, chosen, rejected, outcome, time.time() - start)


if __name__ == "__main__":
    main()
