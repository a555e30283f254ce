#!/usr/bin/env python3
"""Tables of what bench_gpu_moe, train_lm, gpu_torch.py and gpu_torch_lm.py printed.

  tests/benchmarks/gpu_compare.py FILE..
"""
import sys

LAYERS = {"capacity": "top-2, capacity 1.25", "dropless": "top-2, dropless", "choice": "expert choice", "soft": "soft",
          "depths": "mixture of depths"}


def read(files):
    values = {}
    for name in files:
        for line in open(name):
            words = line.split()
            if len(words) == 3 and not line.startswith("#"):
                values[words[0]] = float(words[1])
    return values


def number(v, digits=2):
    return "" if v is None else f"{v:,.{digits}f}"


def ratio(a, b):
    return "" if not a or not b else f"{a / b:.2f}"


def present(values, *names):
    return [values[n] for n in names if n in values]


def layers(v):
    print("| layer | dtype | ms, eager | ms, graph | TFLOP/s | its products, TFLOP/s | fraction | PyTorch eager, ms "
          "| compiled, ms | eager / ours | compiled / ours | GB, ours | GB, PyTorch | waits |")
    print("|---|---|---|---|---|---|---|---|---|---|---|---|---|---|")
    for key, title in LAYERS.items():
        for dtype in ("bf16", "f32"):
            get = lambda what: v.get(f"{key}.{dtype}.{what}")
            theirs = lambda what: v.get(f"torch.{key}.{dtype}.{what}")
            times = present(v, f"{key}.{dtype}.eager.time", f"{key}.{dtype}.graph.time")
            if not times:
                print(f"| {title} | {dtype} | failed |" + " |" * 11)
                continue
            rates = present(v, f"{key}.{dtype}.eager.rate", f"{key}.{dtype}.graph.rate")
            fractions = present(v, f"{key}.{dtype}.eager.fraction", f"{key}.{dtype}.graph.fraction")
            ours = min(times)
            cells = [title, dtype, number(get("eager.time"), 3), number(get("graph.time"), 3), number(max(rates, default=None), 1),
                     number(get("products"), 1), number(max(fractions, default=None)), number(theirs("eager.time"), 3),
                     number(theirs("compiled.time"), 3), ratio(theirs("eager.time"), ours), ratio(theirs("compiled.time"), ours),
                     number(get("peak")), number(theirs("peak")), number(get("waits"), 0)]
            print("| " + " | ".join(cells) + " |")


def device(v):
    print("| on this GPU | moegrad | PyTorch |\n|---|---|---|")
    for name in sorted(k for k in v if k.startswith(("gemm.", "copy"))):
        unit = "GB/s" if name == "copy" else "TFLOP/s"
        print(f"| {name}, {unit} | {number(v[name], 1)} | {number(v.get('torch.' + name), 1)} |")


def language_models(v):
    print("| train_lm | eager, tokens/s | graph, tokens/s | PyTorch eager | PyTorch compiled | ours / eager PyTorch "
          "| ours / compiled |\n|---|---|---|---|---|---|---|")
    for name in sorted({k.removeprefix("torch.").split(".")[1] for k in v if k.removeprefix("torch.").startswith("lm.")}):
        ours = present(v, f"lm.{name}.graph.tokens", f"lm.{name}.eager.tokens")
        eager, compiled = v.get(f"torch.lm.{name}.eager.tokens"), v.get(f"torch.lm.{name}.compiled.tokens")
        top = max(ours) if ours else None
        print("| " + " | ".join([name, number(v.get(f"lm.{name}.eager.tokens"), 0), number(v.get(f"lm.{name}.graph.tokens"), 0),
                                 number(eager, 0), number(compiled, 0), ratio(top, eager), ratio(top, compiled)]) + " |")


def main():
    values = read(sys.argv[1:])
    device(values)
    print()
    layers(values)
    print()
    language_models(values)


if __name__ == "__main__":
    main()
