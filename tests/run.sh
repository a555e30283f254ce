#!/usr/bin/env bash
# Builds moegrad and runs its tests; installs what is missing first (tests/setup.sh).
#
#   tests/run.sh          the tests in Release, then under the address and undefined-behaviour sanitizers
#   tests/run.sh --ci     the same after the lanes of a change: format check; the GPU backend built by nvcc, where it is, and run
#                         on the CPU (tests/cuda_on_cpu), there also under the address and undefined-behaviour sanitizers, and
#                         kernels under the thread sanitizer; benchmarks must build, too
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
  table+=$(printf '%-18s %-8s %4d s' "$name" "$result" $((SECONDS - start)))$'\n'
}

not_run() { table+=$(printf '%-18s %-8s        %s' "$1" "NOT RUN" "$2")$'\n'; }

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
  ctest --preset "$1" -j "$jobs" --output-log "$PWD/build/ctest.log"
}

# The GPU backend built for real GPUs. Nothing runs there without one, but programs start, work on the CPU, and say why
# the other device cannot be used. (tests/gpu.sh runs all of it, on a machine with a GPU.)
build_cuda() {
  cmake --preset cuda
  cmake --build --preset cuda -j "$jobs"
  MOEGRAD_DEVICE=cpu ctest --test-dir build/cuda --output-on-failure --no-tests=error \
    -R '^(core/device|core/tensor|ops/softmax|ops/matmul|nn/moe/moe|consumer)$'
  if ! ls /dev/nvidia0 >/dev/null 2>&1; then
    local words
    words=$(MOEGRAD_DEVICE=cuda build/cuda/moegrad_tests 2>&1) && { echo "a GPU was found where there is none"; return 1; }
    echo "$words"
    [[ $words == *"got cuda, and this machine has no usable NVIDIA driver or GPU"* ]]
  fi
}

# The whole suite on the emulated GPU; kernels also with their threads in other orders.
emulated() {
  cmake --preset cuda-on-cpu
  cmake --build --preset cuda-on-cpu -j "$jobs"
  export OMP_NUM_THREADS=1  # kernels run on one thread of the CPU
  ctest --preset cuda-on-cpu -j "$jobs"
  local order
  for order in reverse random:1 warps; do
    CUDA_ON_CPU_ORDER=$order ctest --preset cuda-on-cpu -j "$jobs" -R '^cuda/'
  done
}

# The whole suite there under the address and undefined-behaviour sanitizers, threads and blocks the other way round.
emulated_debug() {
  cmake --preset cuda-on-cpu-debug
  cmake --build --preset cuda-on-cpu-debug -j "$jobs"
  OMP_NUM_THREADS=1 CUDA_ON_CPU_ORDER=reverse ctest --preset cuda-on-cpu-debug -j "$jobs"
}

emulated_race() {
  cmake --preset cuda-on-cpu-race
  cmake --build --preset cuda-on-cpu-race -j "$jobs" --target moegrad_tests cuda_on_cpu_tests
  ctest --preset cuda-on-cpu-race -j "$jobs" -R '^(cuda/|cuda_on_cpu)'
}

parts=(tests examples)
[[ $ci == 1 ]] && parts+=(ci)
bash tests/setup.sh "${parts[@]}" || exit

[[ $ci == 1 ]] && lane format check_format
lane cpu build_and_test cpu
lane cpu-debug build_and_test cpu-debug
if [[ $ci == 1 ]]; then
  lane cuda-on-cpu emulated
  if command -v nvcc >/dev/null; then
    lane cuda build_cuda
  else
    not_run cuda "there is no nvcc"
  fi
  lane cuda-on-cpu-debug emulated_debug
  lane cuda-on-cpu-race emulated_race
fi

printf '\n%s\n' "$table"
sed -n '/tests passed/,$p' build/ctest.log 2>/dev/null
[[ -z $failed ]] || { echo "FAILED:$failed"; exit 1; }
