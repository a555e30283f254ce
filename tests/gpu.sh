#!/usr/bin/env bash
# Builds moegrad for the NVIDIA GPU of this machine and checks it there: the whole suite and the golden data on the
# device, compute-sanitizer on a part of it, then speed beside PyTorch where python3 can import it.
#
#   tests/gpu.sh                   all of it; under ten minutes with 16 cores
#   tests/gpu.sh --quick           builds, then the suite and the golden data
#   tests/gpu.sh --sanitize        builds, then compute-sanitizer
#   tests/gpu.sh --bench           builds, then the benchmarks
#   tests/gpu.sh --tests REGEX     of the suite, the tests whose names match (ctest -R)
#   tests/gpu.sh --golden DIR      compares with the data of this folder, too
#   tests/gpu.sh --results DIR     where logs and tables go (build/gpu/results)
#   tests/gpu.sh --help            this text
#
# Needs nvcc, a C++ compiler and CMake. What moegrad stands on is taken from .deps/usr if it is there, without a network.
# Ends with a table; exits with 0 only if everything that ran has passed.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1
root=$PWD build=$PWD/build/gpu results="" filter="" golden=()
suite=1 sanitize=1 bench=1

while [[ $# -gt 0 ]]; do
  case $1 in
    --quick) sanitize=0 bench=0 ;;
    --sanitize) suite=0 bench=0 ;;
    --bench) suite=0 sanitize=0 ;;
    --tests | --golden | --results)
      [[ $# -ge 2 ]] || { echo "tests/gpu.sh: $1 needs a value" >&2; exit 2; }
      case $1 in --tests) filter=$2 ;; --golden) golden+=("$2") ;; --results) results=$2 ;; esac
      shift ;;
    --help | -h) sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p}' tests/gpu.sh; exit 0 ;;
    *) echo "tests/gpu.sh: unknown option $1 (see --help)" >&2; exit 2 ;;
  esac
  shift
done
results=$(mkdir -p "${results:-$build/results}" && cd "${results:-$build/results}" && pwd) || exit 1

cores=$(nproc)
table=""
failed=""

# lane NAME COMMAND..: runs the command and notes the result, with what it wrote to $note.
note=$results/.note
lane() {
  local name=$1 start=$SECONDS result=passed
  shift
  printf '\n== %s\n' "$name"
  : >"$note"
  (set -e; "$@")  # not in a condition: there bash would ignore set -e
  [[ $? == 0 ]] || { result=FAILED; failed+=" $name"; }
  local line
  line=$(printf '%-12s %-8s %4d s  %s' "$name" "$result" $((SECONDS - start)) "$(head -n 1 "$note")")
  echo "$line"
  table+=$line$'\n'
}
not_run() { table+=$(printf '%-12s %-8s         %s' "$1" "NOT RUN" "$2")$'\n'; }

finish() {
  rm -f "$note"
  printf '\n%s\n%s\n' "$where" "$table" | tee "$results/summary.txt"
  [[ -z $failed ]] || { echo "FAILED:$failed" | tee -a "$results/summary.txt"; exit 1; }
  exit 0
}

# ---- what there is

command -v nvcc >/dev/null || export PATH="$PATH:/usr/local/cuda/bin"
# Tools that come with Python packages lie beside its interpreter.
command -v cmake >/dev/null || PATH="$PATH:$(python3 -c 'import sys; print(sys.prefix + "/bin")' 2>/dev/null)"
missing=()
for tool in nvidia-smi nvcc c++ cmake ctest; do command -v "$tool" >/dev/null || missing+=("$tool"); done
[[ ${#missing[@]} == 0 ]] || { echo "tests/gpu.sh: missing here: ${missing[*]}" >&2; exit 2; }

gpu=$(nvidia-smi --query-gpu=name,driver_version --format=csv,noheader | head -n 1)
capability=$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader | head -n 1 | tr -d '. ')
[[ $capability =~ ^[0-9]+$ ]] || { echo "tests/gpu.sh: nvidia-smi finds no GPU here" >&2; exit 2; }
commit=$(git rev-parse --short=12 HEAD 2>/dev/null || echo "unknown commit")
where="$(date -u '+%Y-%m-%d %H:%M'), $gpu, sm_$capability, $cores cores, $commit"
echo "$where"
nvcc --version | tail -n 2; c++ --version | head -n 1; cmake --version | head -n 1

# Where the toolkit has no cuBLAS to link with, that of the Python packages is taken.
use_cublas_of_python() {
  local toolkit library include links=$build-libraries
  toolkit=$(dirname "$(dirname "$(readlink -f "$(command -v nvcc)")")")
  [[ -z $(find -L "$toolkit" -name libcublas.so -print -quit 2>/dev/null) ]] || return 0
  library=$(python3 -c 'import glob, sys
print(next((f for p in sys.path for f in glob.glob(p + "/nvidia/*/lib/libcublas.so.*")), ""))' 2>/dev/null)
  [[ -n $library ]] || library=$(find -L "$toolkit" -name 'libcublas.so.*' -print -quit 2>/dev/null)
  [[ -n $library ]] || return 0
  mkdir -p "$links"
  ln -sf "$(dirname "$library")"/libcublas*.so.* "$links/"
  ln -sf "$library" "$links/libcublas.so"
  include=$(dirname "$(dirname "$library")")/include
  export CMAKE_LIBRARY_PATH="$links${CMAKE_LIBRARY_PATH:+:$CMAKE_LIBRARY_PATH}"
  [[ ! -e $include/cublas_v2.h || -e $toolkit/include/cublas_v2.h ]] || {
    ln -sf "$include"/cublas*.h "$links/"
    export CPATH="$links${CPATH:+:$CPATH}"
  }
}

# ---- build

build_all() {
  use_cublas_of_python
  local options=(-DCMAKE_CUDA_ARCHITECTURES="$capability-real" -DMOEGRAD_NATIVE=ON -DMOEGRAD_WERROR=OFF)
  command -v ninja >/dev/null || options+=(-G "Unix Makefiles")
  if [[ -d .deps/usr ]]; then
    export CMAKE_PREFIX_PATH="$root/.deps/usr${CMAKE_PREFIX_PATH:+:$CMAKE_PREFIX_PATH}"
    options+=(-DCMAKE_PREFIX_PATH="$root/.deps/usr")  # for the test that uses an installed copy, too
    options+=(-DFETCHCONTENT_FULLY_DISCONNECTED=ON)
    # The compiler's own OpenMP library is the one to run with, if it has one that is shared.
    [[ $(c++ -print-file-name=libgomp.so) != /* ]] || rm -f .deps/usr/lib/*/libgomp.so*
  fi
  cmake --preset cuda -B "$build" "${options[@]}" >"$results/configure.log" 2>&1 || { tail -n 40 "$results/configure.log"; return 1; }
  grep -E 'OpenBLAS|CUDA compiler|CUDAToolkit' "$results/configure.log" || true
  cmake --build "$build" -j "$cores" >"$results/build.log" 2>&1 || {
    grep -E -A 12 'error|FAILED' "$results/build.log" | head -n 80
    return 1
  }
}

# ---- tests

run_suite() {
  local status=0
  MOEGRAD_DEVICE=cuda OMP_NUM_THREADS=1 OMP_WAIT_POLICY=passive ctest --test-dir "$build" -j "$cores" --timeout 300 \
    --no-tests=error --output-on-failure --output-log "$results/suite.log" ${filter:+-R "$filter"} >/dev/null 2>&1 || status=1
  if [[ $status == 1 ]]; then
    grep -E -A 8 'ERROR:|terminate|SIGSEGV|illegal memory|\*\*\*(Failed|Timeout)' "$results/suite.log" |
      grep -v '^--' | cut -c1-220 | head -n 60 || true
    sed -n '/The following tests FAILED/,$p' "$results/suite.log" | head -n 60 || true
  fi
  grep 'tests passed' "$results/suite.log" >"$note" || echo "see suite.log" >"$note"
  { sed -nE 's/.* Test +#[0-9]+: ([^ ]+) \.*.* ([0-9.]+) sec.*/\2 s \1/p' "$results/suite.log" | sort -rn |
    sed -n '1,5p' | tr '\n' ','; } || true
  echo
  return $status
}

# The data of the repository is part of the suite, too; here it gives one line.
run_golden() {
  local folder status=0
  for folder in tests/golden/data ${golden[@]+"${golden[@]}"}; do
    "$build/golden" "$folder" --device cuda --report "$results/golden.json" >"$results/golden.log" 2>&1 || status=1
    { grep '^FAIL' "$results/golden.log" | cut -c1-200 | sed -n '1,30p'; } || true
    echo "$folder: $(tail -n 1 "$results/golden.log")"
    [[ -s $note ]] || tail -n 1 "$results/golden.log" >"$note"
  done
  return $status
}

# ---- compute-sanitizer

# Those of cuda/ enter every branch of the kernels with few launches; others make many thousands of steps, and may be cut
# off. The longest come first.
racecheck_files=(cuda/order cuda/routes cuda/reduce cuda/rows cuda/grouped_outer cuda/attention cuda/grouped_matmul
  cuda/matmul)
memcheck_files=("${racecheck_files[@]}" cuda/dropout cuda/device cuda/graph core/random_fill ops/slots ops/one_hot ops/norm
  ops/update)
reports='^=+ (Error:|Invalid|Misaligned|Race reported|Program hit|Uninitialized|Internal)'
nothing='^=+ (ERROR SUMMARY: 0 errors|RACECHECK SUMMARY: 0 hazards)'  # clean is only what says so

# sanitizer_file TOOL FILE: one test file, until the deadline at most. Prints a word and the file.
sanitizer_file() {
  local log=$results/$1.${2//\//_}.log left=$((deadline - $(date +%s))) status=0
  [[ $left -gt 3 ]] || { echo "unfinished $2"; return; }
  MOEGRAD_DEVICE=cuda MOEGRAD_CUDA_CACHE=0 OMP_NUM_THREADS=1 timeout -k 5 "$left" compute-sanitizer --tool "$1" \
    --error-exitcode 9 --print-limit 5 "$build/moegrad_tests" --source-file="*tests/$2_test.cpp" >"$log" 2>&1 || status=$?
  if [[ $status == 9 ]] || grep -qE "$reports" "$log"; then
    echo "error $2"
  elif [[ $status == 124 || $status == 137 ]]; then
    echo "unfinished $2"
  elif [[ $status != 0 ]] || ! grep -qE "$nothing" "$log"; then
    echo "failed $2"
  else
    rm -f "$log"
    echo "clean $2"
  fi
}
export -f sanitizer_file

# run_sanitizer TOOL SECONDS FILE..: the files side by side, all of them within the time.
run_sanitizer() {
  local tool=$1 seconds=$2 list=$results/$1.txt word file
  shift 2
  export results build reports nothing deadline=$(($(date +%s) + seconds))
  printf '%s\n' "$@" | xargs -P 8 -I {} bash -c "sanitizer_file $tool {}" >"$list"
  while read -r word file; do
    [[ $word == clean ]] || echo "$word: $file"
    if [[ $word == error || $word == failed ]]; then
      { grep -E -A 6 "$reports|ERROR:" "$results/$tool.${file//\//_}.log" | sed -n '1,14p'; } || true
    fi
  done <"$list"
  local clean unfinished
  clean=$(grep -c '^clean' "$list") || true
  unfinished=$(grep -c '^unfinished' "$list") || true
  echo "$clean of $# test files clean, $unfinished cut off after $seconds s without a report" >"$note"
  [[ $((2 * clean)) -ge $# ]] && ! grep -qE '^(error|failed)' "$list"
}

# ---- benchmarks

run_bench() {
  bash tests/benchmarks/gpu_bench.sh "$build" "$results"
  echo "tables in $results/benchmarks.md" >"$note"
}

# ---- all

lane build build_all
[[ -z $failed ]] || finish
if [[ $suite == 1 ]]; then
  lane suite run_suite
  lane golden run_golden
fi
if [[ $sanitize == 1 ]]; then
  if command -v compute-sanitizer >/dev/null; then
    lane memcheck run_sanitizer memcheck 40 "${memcheck_files[@]}"
    lane racecheck run_sanitizer racecheck 60 "${racecheck_files[@]}"
  else
    not_run memcheck "there is no compute-sanitizer"
    not_run racecheck "there is no compute-sanitizer"
  fi
fi
[[ $bench == 0 ]] || lane benchmark run_bench
finish
