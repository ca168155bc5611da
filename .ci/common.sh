# Shared by the scripts of .ci: the tree, a clean copy of it, fresh environments, and parts with headings and times.
# Sourced, not run. PYTHON names the interpreter to make environments with (default: python3).

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
python=${PYTHON:-python3}
scratch=$(mktemp -d "${TMPDIR:-/tmp}/thalweg-ci.XXXXXX")
trap 'rm -rf "$scratch"' EXIT

# What would halve NumPy, or let something of the caller's shell into a check.
unset OPENBLAS_CORETYPE OPENBLAS_L2_SIZE PYTHONPATH THALWEG_ISA OMP_NUM_THREADS VIRTUAL_ENV
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore

# copy_tree FOLDER: what is committed and what would be, without anything that git ignores.
copy_tree() {
  mkdir -p "$1"
  if git -C "$root" rev-parse --is-inside-work-tree >/dev/null 2>&1; then
    (cd "$root" && git ls-files -z --cached --others --exclude-standard |
      while IFS= read -r -d '' file; do [ ! -e "$file" ] || printf '%s\0' "$file"; done |
      tar --null --files-from=- --create --file=-) | tar -x -C "$1"
  else # an unpacked source distribution
    tar -C "$root" --exclude=./build --exclude=./dist --exclude=__pycache__ --create --file=- . | tar -x -C "$1"
  fi
}

# fresh_environment FOLDER
fresh_environment() {
  "$python" -m venv "$1"
}

# within FOLDER COMMAND...: runs a command in an environment, as if it had been activated.
within() {
  env VIRTUAL_ENV="$1" PATH="$1/bin:$PATH" "${@:2}"
}

parts=() failures=0

# part NAME COMMAND...: runs a command or function under a heading; goes on after a failure, and remembers it.
part() {
  local began=$SECONDS status=0 verdict=ok
  printf '\n==== %s\n' "$1"
  set +e # a subshell in a condition would ignore its own set -e
  (
    set -e
    "${@:2}"
  ) </dev/null
  status=$?
  set -e
  if [ "$status" != 0 ]; then
    verdict="FAILED (status $status)"
    failures=$((failures + 1))
  fi
  parts+=("$(printf '%5d s  %-44s %s' $((SECONDS - began)) "$1" "$verdict")")
  printf -- '---- %s: %s, %d s\n' "$1" "$verdict" $((SECONDS - began))
}

# Prints all parts with their times; the status is 1 if one of them failed.
summary() {
  printf '\n==== summary\n'
  printf '%s\n' "${parts[@]}"
  printf '%5d s  in all: %d of %d parts failed\n' "$SECONDS" "$failures" "${#parts[@]}"
  [ "$failures" = 0 ]
}

# debian FOLDER PACKAGE...: unpacks packages of Debian without installing them; needs no root.
debian() {
  mkdir -p "$1/debs"
  (cd "$1/debs" && apt-get -qq download "${@:2}" 2>/dev/null) || {
    echo "apt-get cannot download ${*:2}; try apt-get update first"
    return 1
  }
  local package
  for package in "$1"/debs/*.deb; do dpkg -x "$package" "$1"; done
}
