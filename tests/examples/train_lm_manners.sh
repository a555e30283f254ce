#!/usr/bin/env bash
# What train_lm owes to people and other programs: exit codes, errors in one line, JSON and nothing else for machines, a
# clean stop, a config that repeats a run.
#
#   tests/examples/train_lm_manners.sh TRAIN_LM TEXT
set -euo pipefail
program=$(realpath "$1") text=$(realpath "$2")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
tiny=(--data "$text" --layers 1 --width 8 --heads 2 --experts 2 --block 8 --batch 2 --sample 5 --threads 1)
fail() { echo "FAILED: $*"; exit 1; }
# expect CODE ARGUMENT..: runs the program into the files out and err
expect() {
  local want=$1 code=0
  shift
  "$program" "$@" >out 2>err || code=$?
  [[ $code == "$want" ]] || { cat out err; fail "$* gave $code, not $want"; }
}

expect 2 --stpes 3
grep -q "did you mean --steps" err || fail "a slip is not advised on: $(cat err)"
expect 2 --steps many
expect 1 --data "$work/none" --steps 1
for file in err out; do [[ $(grep -c '' $file) == $([[ $file == err ]] && echo 1 || echo 0) ]] || fail "an error is not one line"; done
expect 0 --help
grep -q "Example: train_lm" out || fail "the help text has no example"
grep -q "N=600" out || fail "the help text does not show defaults"

expect 0 "${tiny[@]}" --steps 20 --eval-every 10 --json --checkpoint json.safetensors
[[ -s json.html ]] || fail "there is no report beside the checkpoint"
if command -v python3 >/dev/null; then
  python3 - <<'P' || fail "--json is not JSON, line by line"
import json
events = [json.loads(line)["event"] for line in open("out")]
assert events[0] == "start" and events[-1] == "result", events
assert events.count("step") == 2 and events.count("evaluation") == 1, events
P
fi
expect 0 "${tiny[@]}" --steps 3 --quiet --checkpoint "" --write-config run.toml
[[ ! -e train_lm.html && -s run.toml ]] || fail "without a checkpoint there is no report, but the config that was asked for"
grep -q $'\033' out && fail "colours in a file"
cp out first
expect 0 --config run.toml
same() { grep -v ' steps in ' "$1"; }
diff <(same first) <(same out) || fail "a config does not repeat its run"
expect 0 "${tiny[@]}" --steps 1 --ffn soft --checkpoint ""
grep -q "^warning: --ffn soft lets a position see" err || fail "a layer that sees the future does not warn"

"$program" "${tiny[@]}" --steps 1000000 --checkpoint stop.safetensors --checkpoint-every 0 --watch-every 0 >out 2>err &
pid=$!
while ! grep -q "parameters" out; do sleep 0.05; done
sleep 1
kill -TERM $pid
code=0
wait $pid || code=$?
[[ $code == 130 && -s stop.safetensors ]] || fail "a stopped run gave $code, or no checkpoint"
grep -q "resume goes on" out || fail "a stopped run does not say how it goes on"
echo passed
