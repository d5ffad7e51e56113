#!/usr/bin/env bash
# Prints the path of the pinned wit-bindgen with its generator for C, after installing what is missing to build the backend in C:
# clang, lld and wasi-libc with apt, wit-bindgen with cargo. With --find nothing is installed, and what is missing is said.
# BULKHEAD_CLANG names another clang, such as that of a wasi-sdk. Other versions of wit-bindgen are not taken: the names
# that they generate differ.
set -euo pipefail
cd "$(dirname "$0")/.."
version=0.61.1
home=${BULKHEAD_WIT_BINDGEN_DIR:-$HOME/.cache/bulkhead/wit-bindgen-$version}
packages="clang lld wasi-libc libclang-rt-dev-wasm32"
find=; [ "${1:-}" != --find ] || find=1
fail() { echo "setup: $*" >&2; exit 1; }

# Whether a module can be compiled and linked with a libc.
compiles() {
  printf '#include <stdlib.h>\nvoid *f(void);\nvoid *f(void) { return malloc(1); }\n' \
    | "${BULKHEAD_CLANG:-clang}" --target=wasm32-wasi -nostartfiles -Wl,--no-entry -Wl,--export=f -x c - -o /dev/null 2>/dev/null
}
if ! compiles; then
  [ -z "$find" ] && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null \
    || fail "no clang for wasm32-wasi: install $packages (Debian names), or name a wasi-sdk's clang in BULKHEAD_CLANG"
  echo "setup: installing with apt: $packages" >&2
  apt-get update -q >/dev/null
  # shellcheck disable=SC2086
  DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends $packages >/dev/null
  compiles || fail "clang still can't make modules of wasm32-wasi after installing $packages"
fi

for program in "${BULKHEAD_WIT_BINDGEN:-}" "$(command -v wit-bindgen || true)" "$home/bin/wit-bindgen"; do
  case "$([ -x "$program" ] && "$program" --version 2>/dev/null)" in
    "wit-bindgen-cli $version"*) echo "$program"; exit 0 ;;
  esac
done
[ -z "$find" ] || fail "wit-bindgen $version is missing: run scripts/setup-c.sh, or name one in BULKHEAD_WIT_BINDGEN"
echo "setup: installing wit-bindgen $version with cargo (about three minutes, once)" >&2
CARGO_TARGET_DIR="$HOME/.cache/bulkhead/tools" scripts/with-toolchain.sh \
  cargo install wit-bindgen-cli --version "$version" --locked --quiet --no-default-features --features c --root "$home" >&2
echo "$home/bin/wit-bindgen"
