# Functions that tests/run, examples/run and .ci/run share. Source it: `. "$root/scripts/common.sh"`, with `root` set to the
# top of the tree. Nothing here reads settings from the environment.

set -euo pipefail
BATON_START_SECONDS=$SECONDS

# "[ 12s] text": one line of progress, on standard error, so that standard output stays the caller's.
step() {
  printf '[%3ds] %s\n' "$((SECONDS - BATON_START_SECONDS))" "$*" >&2
}

fail() {
  printf 'error: %s\n' "$*" >&2
  exit 1
}

# Names in a package list, without comments.
package_names() {
  sed -e 's/#.*//' "$@" | tr -s ' \t\n' '\n' | sed '/^$/d'
}

# need_packages yes|no LIST...: makes sure that the packages of the lists are there. `yes` allows installing, which needs
# root; otherwise, or without root, it prints the one command to type and exits with 1. No network when nothing is missing.
need_packages() {
  local may_install=$1 name command
  local -a missing=()
  shift
  if ! command -v dpkg-query >/dev/null; then
    step "not a Debian system: the packages of $* are taken to be there in some form"
    return
  fi
  while read -r name; do
    if [[ $(dpkg-query -W -f='${db:Status-Status}' "$name" 2>/dev/null) != installed ]]; then
      missing+=("$name")
    fi
  done < <(package_names "$@")
  if ((${#missing[@]} == 0)); then
    step "packages: all there"
    return
  fi
  command="apt-get update && apt-get install -y --no-install-recommends ${missing[*]}"
  if [[ $may_install != yes || $EUID -ne 0 ]]; then
    printf 'These packages are missing: %s\nType this as root, then run again:\n\n  %s\n\n' \
      "${missing[*]}" "$command" >&2
    exit 1
  fi
  step "packages: installing ${missing[*]}"
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -qq >&2 || fail "apt-get update failed: is there a network?"
  apt-get install -y -qq --no-install-recommends "${missing[@]}" >&2 ||
    fail "apt-get install failed for: ${missing[*]}"
}

# Passes ninja's output on. To a terminal as it is; elsewhere the progress lines are thinned to one in five seconds.
show_build() {
  local line last=$((SECONDS - 10))
  if [[ -t 2 ]]; then
    cat >&2
    return
  fi
  while IFS= read -r line; do
    if [[ $line =~ ^\[[0-9]+/[0-9]+\] ]]; then
      ((SECONDS - last >= 5)) || continue
      last=$SECONDS
    fi
    printf '%s\n' "$line" >&2
  done
}

# configure_preset PRESET [CMAKE_ARGUMENT...]: build/PRESET, by ccache where that is installed.
configure_preset() {
  local preset=$1 log
  shift
  local -a arguments=("$@")
  if command -v ccache >/dev/null; then
    arguments+=(-DCMAKE_C_COMPILER_LAUNCHER=ccache -DCMAKE_CXX_COMPILER_LAUNCHER=ccache)
  fi
  step "configure: build/$preset"
  mkdir -p "$root/build"
  log=$root/build/configure-$preset.log
  if ! (cd "$root" && cmake --preset "$preset" "${arguments[@]}") >"$log" 2>&1; then
    tail -n 40 "$log" >&2
    fail "cmake failed; all that it said is in $log"
  fi
}

# build_targets PRESET [TARGET...]: without targets, all of them.
build_targets() {
  local preset=$1 target
  shift
  local -a arguments=()
  for target in "$@"; do arguments+=(--target "$target"); done
  step "build: ${*:-everything} (build/$preset, $(nproc) jobs)"
  cmake --build "$root/build/$preset" -j "$(nproc)" "${arguments[@]}" 2>&1 | show_build ||
    fail "the build of build/$preset failed"
}

# configure_and_build PRESET [TARGET...]
configure_and_build() {
  local preset=$1
  shift
  configure_preset "$preset"
  build_targets "$preset" "$@"
}
