#!/usr/bin/env bash
# Installs what is missing to build moegrad, and says what it installs. Called by tests/run.sh and
# examples/quickstart.sh, with the parts that they need:  tests/setup.sh [tests] [examples] [ci]
# Where it cannot install, it prints what to install and exits with 2.
set -euo pipefail

tools=(c++ cmake ninja)  # by command, because not everybody has them from the system's packages
packages=(libopenblas-openmp-dev libfmt-dev nlohmann-json3-dev libstb-dev)
for part in "$@"; do
  case $part in
    tests) tools+=(ccache python3) packages+=(doctest-dev) ;;
    examples) packages+=(libcli11-dev) ;;
    ci) tools+=(clang-format-14) packages+=(libbenchmark-dev) ;;
    *) echo "setup.sh: unknown part $part" >&2; exit 2 ;;
  esac
done

is_there() { command -v "$1" >/dev/null; }

if ! is_there apt-get || ! is_there dpkg-query; then
  missing=()
  for tool in c++ cmake ninja; do is_there "$tool" || missing+=("$tool"); done
  found=$(find -L ${CMAKE_PREFIX_PATH:+"$CMAKE_PREFIX_PATH"} /usr/include /usr/local/include /opt/homebrew/opt/openblas \
    /usr/local/opt/openblas -maxdepth 4 -name openblas_config.h -print -quit 2>/dev/null || true)
  [[ -n $found ]] || missing+=("OpenBLAS (OpenMP build)")
  [[ ${#missing[@]} -gt 0 ]] || exit 0
  printf 'Missing here: %s\n' "$(printf '%s, ' "${missing[@]}" | sed 's/, $//')"
  cat <<'END'
This script installs on Debian and Ubuntu only. Please install, then run it again:
  Fedora   sudo dnf install gcc-c++ libasan libubsan cmake ninja-build ccache openblas-devel fmt-devel \
             doctest-devel json-devel cli11-devel stb-devel google-benchmark-devel python3
  Arch     sudo pacman -S --needed base-devel cmake ninja ccache openblas fmt doctest nlohmann-json cli11 benchmark python
  macOS    brew install cmake ninja ccache libomp openblas fmt doctest nlohmann-json cli11 google-benchmark
           export OpenMP_ROOT="$(brew --prefix libomp)"
  others   a C++20 compiler with OpenMP, CMake 3.25 or newer, Ninja, and OpenBLAS built with USE_OPENMP=1;
           fmt, doctest, nlohmann/json, CLI11 and stb are downloaded if they are not installed
END
  exit 2
fi

install=()
for tool in "${tools[@]}"; do
  is_there "$tool" && continue
  case $tool in
    c++) install+=(g++) ;;
    ninja) install+=(ninja-build) ;;
    *) install+=("$tool") ;;
  esac
done
for package in "${packages[@]}"; do
  [[ $(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null) == installed ]] || install+=("$package")
done

if [[ ${#install[@]} -gt 0 ]]; then
  as_root=()
  if [[ $EUID -ne 0 ]]; then
    is_there sudo || {
      echo "Please install these packages as root, then run this again:"
      echo "  apt-get install ${install[*]}"
      exit 2
    }
    as_root=(sudo)
  fi
  echo "Installing: ${install[*]}"
  log=$(mktemp)
  trap 'rm -f "$log"' EXIT
  { "${as_root[@]}" apt-get update -q &&
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "${install[@]}"
  } >"$log" 2>&1 || { cat "$log"; echo "Could not install: ${install[*]}"; exit 2; }
fi

version=$(cmake --version | sed -n '1s/[^0-9]*\([0-9]*\.[0-9]*\).*/\1/p')
if [[ $(printf '%s\n' 3.25 "$version" | sort -V | head -n 1) != 3.25 ]]; then
  echo "CMake $version is too old: 3.25 or newer is needed (a newer one:  pipx install cmake)"
  exit 2
fi
