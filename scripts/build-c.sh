#!/usr/bin/env bash
# Builds the backend in C (tests/backends/c) to a component: scripts/build-c.sh [OUT.wasm], by default dist/backends/c.wasm. Says
# what is missing; scripts/setup-c.sh installs it. BULKHEAD_COMPONENTIZE names the componentizer, KEEP a folder for the generated files.
set -euo pipefail
cd "$(dirname "$0")/.."
out=${1:-dist/backends/c.wasm}
componentize=${BULKHEAD_COMPONENTIZE:-${CARGO_TARGET_DIR:?or BULKHEAD_COMPONENTIZE}/debug/bulkhead-componentize}
wit_bindgen=$(scripts/setup-c.sh --find)
work=${KEEP:-}
[ -n "$work" ] || { work=$(mktemp -d); trap 'rm -rf "$work"' EXIT; }

# The backend's world, with the package that it is made of beside it.
mkdir -p "$work/wit/deps/bulkhead-backend" "$work/generated" "$(dirname "$out")"
cp tests/backends/c/wit/world.wit "$work/wit/"
cp wit/v0.1/*.wit "$work/wit/deps/bulkhead-backend/"
"$wit_bindgen" c --world pool --out-dir "$work/generated" "$work/wit" >"$work/log" 2>&1 || { cat "$work/log" >&2; exit 1; }

compile=("${BULKHEAD_CLANG:-clang}" --target=wasm32-wasi -std=c17 -Os -c -Wall -Wextra -Werror -I "$work/generated")
# Undefined behaviour is a trap, which costs one call. Not so in what is generated: that would be twice the size.
strict=(-Wconversion -Wshadow -Wstrict-prototypes -fsanitize=undefined -fsanitize-trap=undefined)
link=(
  "${BULKHEAD_CLANG:-clang}" --target=wasm32-wasi
  # No start-up code and no input or output: nothing of WASI is imported.
  -nostartfiles -Wl,--no-entry -Wl,--strip-all
  # A stack that overflows leaves the memory and traps, and so does an allocation that fails (text.c).
  -Wl,--stack-first -Wl,-z,stack-size=65536 -Wl,--wrap=malloc -Wl,--wrap=realloc
)
for source in tests/backends/c/*.c; do
  "${compile[@]}" "${strict[@]}" -o "$work/$(basename "$source" .c).o" "$source"
done
"${compile[@]}" -o "$work/generated/pool.o" "$work/generated/pool.c"
"${link[@]}" -o "$work/core.wasm" "$work"/*.o "$work/generated/pool.o" "$work/generated/pool_component_type.o"
"$componentize" "$work/core.wasm" "$out"
