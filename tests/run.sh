#!/usr/bin/env bash
# Builds moegrad and runs its tests; installs what is missing first (tests/setup.sh).
#
#   tests/run.sh          the tests in Release, then under the address and undefined-behaviour sanitizers
#   tests/run.sh --ci     the same after the lanes of a change: format check, GPU backend; benchmarks must build, too
#   tests/run.sh --help   this text
#
# Ends with a table of the lanes and ctest's summary. Exits with 0 only if every lane that ran has passed.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1

ci=0
case ${1:-} in
  "") ;;
  --ci) ci=1 ;;
  --help | -h) sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p}' tests/run.sh; exit 0 ;;
  *) echo "tests/run.sh: unknown option $1 (see --help)" >&2; exit 2 ;;
esac

jobs=$(nproc 2>/dev/null || sysctl -n hw.ncpu 2>/dev/null || echo 2)
table=""
failed=""

# lane NAME COMMAND..: runs the command and notes the result. Later lanes run also after a failure, so that one run
# shows everything.
lane() {
  local name=$1 start=$SECONDS result=passed
  shift
  printf '\n== %s\n' "$name"
  (set -e; "$@")  # not in a condition: there bash would ignore set -e
  [[ $? == 0 ]] || { result=FAILED; failed+=" $name"; }
  table+=$(printf '%-14s %-8s %4d s' "$name" "$result" $((SECONDS - start)))$'\n'
}

not_run() { table+=$(printf '%-14s %-8s        %s' "$1" "NOT RUN" "$2")$'\n'; }

check_format() {
  local folders=(core ops nn tests examples)
  if [[ -d cuda ]]; then folders+=(cuda); fi
  find "${folders[@]}" -name '*.h' -o -name '*.cpp' -o -name '*.cu' -o -name '*.cuh' |
    sort | xargs clang-format-14 --dry-run -Werror
}

build_and_test() {
  rm -f build/ctest.log
  cmake --preset "$1"
  cmake --build --preset "$1" -j "$jobs"
  ctest --preset "$1" --output-log "$PWD/build/ctest.log"
}

parts=(tests examples)
[[ $ci == 1 ]] && parts+=(ci)
bash tests/setup.sh "${parts[@]}" || exit

[[ $ci == 1 ]] && lane format check_format
[[ $ci == 1 ]] && not_run cuda "there is no cuda/ backend yet"
[[ $ci == 1 ]] && not_run cuda-on-cpu "there is no cuda/ backend yet"
lane cpu build_and_test cpu
lane cpu-debug build_and_test cpu-debug

printf '\n%s\n' "$table"
sed -n '/tests passed/,$p' build/ctest.log 2>/dev/null
[[ -z $failed ]] || { echo "FAILED:$failed"; exit 1; }
