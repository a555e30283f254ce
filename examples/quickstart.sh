#!/usr/bin/env bash
# From a fresh machine to a trained mixture-of-experts language model: installs what is missing, builds the training
# program and nothing else, and trains the default model on the project's own sources and documents. Its last line names
# the page that shows what the model and its experts did; any browser opens it.
#
#   examples/quickstart.sh [arguments of train_lm, see --help]
set -euo pipefail
top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
build=$top/build/quickstart  # not build/cpu: a developer's tree keeps its tests

bash "$top/tests/setup.sh" examples

echo "Building train_lm in $build"
mkdir -p "$build"
log=$build/configure.log
# A compiler newer than ours may know a new warning: it is shown, but does not stop anyone here.
cmake -S "$top" --preset cpu -B "$build" -D MOEGRAD_TESTS=OFF -D MOEGRAD_BENCHMARKS=OFF -D MOEGRAD_WERROR=OFF \
  >"$log" 2>&1 || { cat "$log"; exit 1; }
cmake --build "$build" --target train_lm

exec "$build/train_lm" "$@"  # from the caller's folder, so that --data and --resume mean the caller's files
