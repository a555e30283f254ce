#!/usr/bin/env bash
# Speed on this machine's GPU beside PyTorch, where python3 can import it; called by tests/gpu.sh.
#
#   tests/benchmarks/gpu_bench.sh BUILD RESULTS [SECONDS]    SECONDS: for PyTorch's layers, most of it torch.compile
#
# Writes RESULTS/ours.txt, RESULTS/torch.txt and the tables RESULTS/benchmarks.md, which it prints. Exits with 1 where a
# program of ours failed; what PyTorch cannot do is no failure.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.." || exit 1
build=$1 results=$2 seconds=${3:-100}
here=tests/benchmarks
ours=$results/ours.txt torch=$results/torch.txt
status=0
: >"$ours" >"$torch"

"$build/bench_gpu_moe" >>"$ours" 2>"$results/bench.log" || { status=1; tail -n 5 "$results/bench.log"; grep failed "$ours"; }

with_torch=0
python3 -c 'import torch; assert torch.cuda.is_available()' 2>/dev/null && with_torch=1
[[ $with_torch == 1 ]] || echo "PyTorch with a GPU cannot be imported: ours alone"
if [[ $with_torch == 1 ]]; then
  timeout $((seconds + 60)) python3 $here/gpu_torch.py --seconds "$seconds" >>"$torch" 2>"$results/torch.log" || {
    grep '^#' "$torch" | tail -n 12
    tail -n 3 "$results/torch.log"
  }
fi

# language_model NAME STEPS TORCH OPTION..: the same training steps, eager, as a graph, and in PyTorch; TORCH: "" or
# --no-compile. The text is a short one: all of its validation part is evaluated at the end.
language_model() {
  local name=$1 steps=$2 torch_option=$3 how log
  shift 3
  for how in eager graph; do
    log=$results/train_lm.$name.$how.log
    timeout 90 "$build/train_lm" --device cuda --data README.md "$@" --steps "$steps" --eval-every 0 --checkpoint "" --sample 0 --quiet \
      $([[ $how == eager ]] || echo --graph) >"$log" 2>&1 || {
      echo "train_lm $name $how failed: $(tail -n 2 "$log")"
      [[ $how == graph && $name == *dropless ]] || status=1  # dropless may need the host
    }
    sed -nE "s|.* ([0-9,]+) tokens/s\$|lm.$name.$how.tokens \\1 tokens/s|p" "$log" | tail -n 1 | tr -d , >>"$ours"
  done
  [[ $with_torch == 0 ]] ||
    timeout 75 python3 $here/gpu_torch_lm.py --name "$name" "$@" --steps 60 $torch_option >>"$torch" 2>>"$results/torch.log" || true
}
language_model medium 150 "" --layers 6 --width 512 --heads 8 --experts 8 --topk 2 --block 256 --batch 32 --capacity 1.25
language_model small 800 --no-compile --layers 8 --width 128 --heads 8 --experts 8 --topk 2 --block 32 --batch 16 --capacity 1.25
language_model small-dropless 600 --no-compile --layers 8 --width 128 --heads 8 --experts 8 --topk 2 --block 32 --batch 16 --capacity 0

python3 $here/gpu_compare.py "$ours" "$torch" | tee "$results/benchmarks.md" || cat "$ours" "$torch"
exit $status
