#!/usr/bin/env bash
# Kills a training with SIGKILL at random moments and resumes it each time. No checkpoint may be lost or damaged, and the
# weights at the end must be those of a run that nobody disturbed, bit for bit.
#
#   tests/kill_resume.sh [train_lm [KILLS [SEED]]]     default: build/cpu/train_lm 10 kills, a seed from the clock
set -euo pipefail
top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
program=${1:-$top/build/cpu/train_lm}
kills=${2:-10}
RANDOM=${3:-$(date +%s)}
[[ -x $program ]] || { echo "kill_resume: $program is not there; build the target train_lm first" >&2; exit 2; }

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
options=(--data "$top/nn/module.cpp" --layers 2 --width 32 --heads 2 --experts 4 --block 16 --batch 4 --steps 3000
         --dropout 0.1 --eval-every 0 --checkpoint-every 7 --sample 0 --threads 2 --report "")

start=$(date +%s%N)
"$program" "${options[@]}" --checkpoint "$work/calm" >"$work/calm.log"
whole=$(( ($(date +%s%N) - start) / 1000000 ))  # ms that the undisturbed run took
echo "undisturbed: $whole ms"

reached=0
for ((k = 1; k <= kills; k++)); do  # each pause is short, so that the run does not end before the last kill
  "$program" "${options[@]}" --checkpoint "$work/killed" --resume >"$work/log" 2>&1 &
  pid=$!
  # Most of the kills while it trains, some while it starts.
  pause=$((RANDOM % (whole / (2 * kills) + 50) + 5))
  sleep "$(printf '%d.%03d' $((pause / 1000)) $((pause % 1000)))"
  kill -KILL $pid 2>/dev/null || true
  if wait $pid 2>/dev/null; then echo "FAILED: the run ended before kill $k; give it more --steps"; exit 1; fi
  from=$(sed -n 's/^going on from step \([0-9]*\).*/\1/p' "$work/log")
  if grep -q '^train_lm:' "$work/log"; then cat "$work/log"; echo "FAILED: the checkpoint did not load"; exit 1; fi
  if [[ -n $from ]] && ((from < reached)); then echo "FAILED: went back from step $reached to $from"; exit 1; fi
  reached=${from:-$reached}
  echo "kill $k after $pause ms; it had gone on from step ${from:-0}"
done

"$program" "${options[@]}" --checkpoint "$work/killed" --resume >"$work/log"
sed -n 's/^\(going on from step [0-9]*\).*/end: \1/p' "$work/log"
cmp "$work/calm" "$work/killed" || { echo "FAILED: the final checkpoints differ"; exit 1; }
left=$(find "$work" -type f ! -name calm ! -name killed ! -name '*log' | wc -l)
echo "passed: $kills kills, same final checkpoint bit for bit ($(stat -c %s "$work/calm") bytes); temporary files left behind: $left"
