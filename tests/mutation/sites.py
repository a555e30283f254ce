"""Finds places to mutate in C++ text, and writes mutants into it. Used by run.py.

The text is not parsed but read by its layout: clang-format puts spaces around binary operators and none around those of
pointers and templates. What is misread does not compile, and run.py drops it.
"""
import hashlib
import re
from dataclasses import dataclass, field

KINDS = ["sign", "dropped term", "swapped operands", "+-1"]
# Of these calls the order of arguments does not matter, or a swap is no mutant of a result.
COMMUTATIVE = {"max", "min", "add", "mul", "eq", "ne", "logical_and", "logical_or", "maximum", "minimum", "format",
               "swap", "swap_axes", "difference", "record", "fused", "MOEGRAD_LAUNCH", "parallel_for", "reshape"}
# How work is cut for threads and caches; by design no result depends on it. Error texts have tests of their own.
NOT_MUTATED = [r"\bthrow\b[^;]*;", r"\bgrain_for\([^;{]*?\)(?=,| \{)", r"\bk\w*Grain\b[^,;)]*", r"\bi64 grain = [^;]*;", r"\bassert\([^;]*;",
               r"\bstatic_assert\([^;]*;", r"\bInternalError\([^;]*;", r"\bMOEGRAD_HD\b", r"\btemplate <[^{};]*?>(?= )"]
PRECEDENCE = {"*": 10, "/": 10, "%": 10, "+": 9, "-": 9, "<<": 8, ">>": 8, "<": 7, "<=": 7, ">": 7, ">=": 7, "==": 6,
              "!=": 6, "&": 5, "^": 4, "|": 3, "&&": 2, "||": 1, "?": 0, ":": 0, "=": 0, "+=": 0, "-=": 0, "*=": 0,
              "/=": 0, "|=": 0, "&=": 0}
OPEN, CLOSE = "([{", ")]}"


@dataclass
class Mutant:
    file: str
    kind: str
    group: str
    edits: list  # (begin, end, text that replaces it)
    what: str  # for people: "a - b  ->  a + b"
    line: int
    id: str = ""
    number: int = 0
    notes: list = field(default_factory=list)


def blanked(text):
    """The text with comments, strings and preprocessor lines as spaces, at the same positions."""
    def spaces(m):
        return re.sub(r"[^\n]", " ", m[0])
    text = re.sub(r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', spaces, text, flags=re.S)
    return re.sub(r"(?m)^[ \t]*#(?:[^\n]*\\\n)*[^\n]*", spaces, text)


def matching(code, at):
    """The position of the bracket that closes the one at `at`."""
    depth = 0
    for i in range(at, len(code)):
        if code[i] in OPEN:
            depth += 1
        elif code[i] in CLOSE:
            depth -= 1
            if depth == 0:
                return i
    raise ValueError("unbalanced brackets")


def bodies(code, head):
    """(begin, end) of the bodies in braces that follow the matches of the regular expression `head`."""
    found = []
    for m in re.finditer(head, code):
        close = matching(code, code.index("(", m.start()))
        rest = re.match(r"\s*(?:const\s*)?(?:noexcept\s*)?(?:->\s*[\w:]+\s*)?(?::[^;{]*)?\{", code[close + 1:])
        if rest:
            begin = close + rest.end()
            found.append((begin + 1, matching(code, begin)))
    return found


class Source:
    def __init__(self, name, text):
        self.name, self.text, self.code = name, text, blanked(text)
        self.mutants = []
        for pattern in NOT_MUTATED:  # brackets stay, so that they match
            self.code = re.sub(pattern, lambda m: re.sub(r"[^\n()\[\]{};,]", " ", m[0]), self.code)

    # ---- extents of operands

    def operators(self, begin, end):
        """Binary operators: (position, text)."""
        for m in re.finditer(r"(?<=\s)(<<|>>|[-+*/|&<>=!]=|&&|\|\||[-+*/%<>&|^?:=])(?=\s)", self.code[begin:end]):
            if m[1] in PRECEDENCE:
                yield begin + m.start(), m[1]

    def left(self, at, least):
        """Where the operand that ends before `at` begins: operators in it bind at least as strongly as `least`."""
        i = at - 1
        while i >= 0:
            c = self.code[i]
            if c in CLOSE:
                if c == "}" and re.match(r"\}[ \t]*\n", self.code[i:]):
                    return self.skip_space(i + 1)
                depth, j = 0, i
                while True:
                    depth += (self.code[j] in CLOSE) - (self.code[j] in OPEN)
                    if depth == 0:
                        break
                    j -= 1
                if c == ")" and re.search(r"\b(if|for|while|switch|constexpr)\s*$", self.code[:j]):
                    return self.skip_space(i + 1)
                i = j
            elif c in OPEN or c in ";,":
                return self.skip_space(i + 1)
            elif c.isspace():
                m = re.search(r"(?:^|\s)(\S+)$", self.code[:i])
                word = m[1] if m else ""
                if word in ("return", "else", "case", "do", "throw") or PRECEDENCE.get(word, 99) < least:
                    return self.skip_space(i)
            i -= 1
        return 0

    def right(self, at, least):
        """Where the operand that begins at `at` ends: operators in it bind at least as strongly as `least`."""
        i = at
        while i < len(self.code):
            c = self.code[i]
            if c in OPEN:
                i = matching(self.code, i)
            elif c in CLOSE or c in ";,":
                break
            elif c.isspace():
                m = re.match(r"\s+(\S+)(?=\s)", self.code[i:])
                if m and PRECEDENCE.get(m[1], 99) < least:
                    break
            i += 1
        while self.code[i - 1].isspace():
            i -= 1
        return i

    def skip_space(self, i):
        while self.code[i].isspace():
            i += 1
        return i

    def split(self, begin, end):
        """Arguments between two brackets: (begin, end) each."""
        parts, at, i = [], begin, begin
        while i <= end:
            if i == end or self.code[i] == ",":
                b = self.skip_space(at)
                e = i
                while e > b and self.code[e - 1].isspace():
                    e -= 1
                if e > b:
                    parts.append((b, e))
                at = i + 1
            elif self.code[i] in OPEN:
                i = matching(self.code, i)
            i += 1
        return parts

    # ---- mutants

    def add(self, kind, edits, shown=None):
        edits = [(b, e, t) for b, e, t in edits]
        begin, end = min(e[0] for e in edits), max(e[1] for e in edits)
        if shown is None:
            shown = self.text[begin:end], edits[0][2]
        before, after = (" ".join(s.split()) for s in shown)
        self.mutants.append(Mutant(self.name, kind, self.group, edits, f"{before}  ->  {after}",
                                   self.text.count("\n", 0, begin) + 1))

    def find(self, begin, end, group):
        self.group = group
        for find in self.find_operators, self.find_signs, self.find_calls, self.find_numbers, self.find_results:
            find(begin, end)

    def find_operators(self, begin, end):
        text = self.text
        for at, op in self.operators(begin, end):
            after = self.skip_space(at + len(op))
            if op in ("+=", "-="):
                b, e = self.left(at, 1), self.right(after, 1)
                x, y = text[b:at].strip(), text[after:e]
                self.add("sign", [(b, e, f"{x} {'-=' if op == '+=' else '+='} {y}")])
                self.add("dropped term", [(b, e, x)])
            elif op in "+-*/|&":
                p = PRECEDENCE[op]
                b, e = self.left(at, p), self.right(after, p + 1)
                x, y = text[b:at].strip(), text[after:e]
                if op in "+-":
                    self.add("sign", [(b, e, f"{x} {'-' if op == '+' else '+'} {y}")])
                self.add("dropped term", [(b, e, x)])
                if op in "+*|&":
                    self.add("dropped term", [(b, e, y)])
                if op in "-/":
                    self.add("swapped operands", [(b, e, f"({y}) {op} ({x})")])
            elif op == "<" and re.search(r"\bfor \([^;]*;[^;]*$", self.code[max(0, at - 200):at]):
                e = self.right(after, 8)
                for by in ("+ 1", "- 1"):
                    self.add("+-1", [(after, e, f"({text[after:e]}) {by}")])

    def find_signs(self, begin, end):
        for m in re.finditer(r"(?<=[\s(\[{,!])-(?=[\w(])", self.code[begin:end]):
            at = begin + m.start()
            if re.search(r"[\w)\]}]\s*$", self.code[:at]) and not re.search(r"\breturn\s*$", self.code[:at]):
                continue
            e = self.right(at + 1, 11)
            self.add("sign", [(at, e, self.text[at + 1:e])])
        for m in re.finditer(r"\bneg\(", self.code[begin:end]):
            at = begin + m.start()
            close = matching(self.code, at + 3)
            self.add("sign", [(at, close + 1, self.text[at + 4:close])])

    def find_calls(self, begin, end):
        for m in re.finditer(r"\b([A-Za-z_]\w*)(?:<[\w:, ]*>)?\(", self.code[begin:end]):
            name, open_ = m[1], begin + m.end() - 1
            if name in ("if", "for", "while", "switch", "return", "sizeof"):
                continue
            parts = self.split(open_ + 1, matching(self.code, open_))
            if name == "add" and len(parts) == 2:
                whole = begin + m.start(), matching(self.code, open_) + 1
                for b, e in parts:
                    self.add("dropped term", [(*whole, self.text[b:e])])
            if name in COMMUTATIVE or name.startswith("check_"):
                continue
            for (b1, e1), (b2, e2) in zip(parts, parts[1:]):
                x, y = self.text[b1:e1], self.text[b2:e2]
                if x == y or x.startswith(("{", "[")) or y.startswith(("{", "[")):
                    continue
                self.add("swapped operands", [(b1, e1, y), (b2, e2, x)], (f"{name}(.. {x}, {y} ..)", f"{name}(.. {y}, {x} ..)"))

    def find_numbers(self, begin, end):
        for m in re.finditer(r"(?<![\w.])(\d+(?:\.\d+)?)(?![\w.])", self.code[begin:end]):
            b, e = begin + m.start(), begin + m.end()
            for by in ("+ 1", "- 1"):
                self.add("+-1", [(b, e, f"{m[1]} {by}")], (self.context(b, e, m[1]), self.context(b, e, f"{m[1]} {by}")))

    def context(self, b, e, middle):
        line = self.text.rfind("\n", 0, b) + 1
        stop = self.text.find("\n", e)
        return self.text[max(line, b - 30):b] + middle + self.text[e:min(stop, e + 30)]

    def find_results(self, begin, end):
        """The gradients that a rule returns: `return {a, b};`."""
        if self.group != "gradients" or self.name.startswith("core/"):
            return
        for m in re.finditer(r"\breturn \{", self.code[begin:end]):
            open_ = begin + m.end() - 1
            for b, e in self.split(open_ + 1, matching(self.code, open_)):
                x = self.text[b:e]
                if x.startswith(("{", "[")) or "\n" in self.code[b:e] and "[" in x:
                    continue
                self.add("sign", [(b, e, f"negated({x})")])
                self.add("dropped term", [(b, e, "Tensor{}")], (x, "Tensor{}"))

    # ---- the text with mutants in it

    def instrumented(self, mutants, first_lines):
        """Mutants in the text, each on lines of their own; returns it and the mutant of each line (or None)."""
        spots = {}
        for m in mutants:
            for b, e, text in m.edits:
                spots.setdefault((b, e), []).append((m.number, text))

        def write(begin, end, skip):
            out, at = "", begin
            inner = sorted((s for s in spots if begin <= s[0] and s[1] <= end and s not in skip),
                           key=lambda s: (s[0], -s[1]))
            for s in inner:
                if s[0] < at:
                    continue  # inside the one before, which has written it
                out += self.text[at:s[0]] + wrap(s, skip | {s})
                at = s[1]
            return out + self.text[at:end]

        def wrap(s, skip):
            result = write(*s, skip)
            for number, text in spots[s]:
                text = " ".join(text.split()) if "//" not in text else text
                result = f"\n\x01{number}\x02 (::mutant({number}) ? ({text})\n : ({result}))\n"
            return result

        text = first_lines + write(0, len(self.text), frozenset())
        owners = [int(m[1]) if (m := re.search("\x01(\\d+)\x02", line)) else None for line in text.split("\n")]
        return re.sub("\x01\\d+\x02", "", text), owners


def name_all(mutants):
    """Ids that survive changes elsewhere: from the file, the kind, the text before and after, and a counter."""
    seen = {}
    for m in mutants:
        key = f"{m.file}|{m.kind}|{m.what}"
        seen[key] = seen.get(key, 0) + 1
        m.id = hashlib.sha256(f"{key}|{seen[key]}".encode()).hexdigest()[:8]
