#!/usr/bin/env bash
# Builds every backend to a component in dist/backends, with whichever Rust for wasm32 is there.
set -euo pipefail
cd "$(dirname "$0")/.."
target=wasm32-unknown-unknown
out=${BULKHEAD_GUEST_DIR:?}
packages=(-p bulkhead-local -p bulkhead-nfs -p bulkhead-ebs -p bulkhead-example -p bulkhead-bad -p bulkhead-group -p bulkhead-caller -p bulkhead-keeper -p bulkhead-facts)
export PATH="$HOME/.cargo/bin:$PATH"

if [ -d "$(rustc --print target-libdir --target $target 2>/dev/null)" ]; then
  CARGO_TARGET_DIR=$out cargo build --quiet --locked --profile guest --target $target "${packages[@]}"
else
  # Debian's compiler has the sources of the standard library, not a built one. Both binaries are named in full: another
  # toolchain may come first on PATH. Nor has it a linker of its own: LLVM's, of its LLVM or newer, is in the package lld-VERSION.
  linker=$(find /usr/bin -name 'wasm-ld-*' -printf '%f\n' | sort -V | tail -1)
  PATH=/usr/bin:$PATH CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER=${linker:-rust-lld} RUSTC=/usr/bin/rustc RUSTC_BOOTSTRAP=1 CARGO_TARGET_DIR=$out \
    /usr/bin/cargo build --quiet --locked --profile guest -Zbuild-std=std,panic_abort --target $target "${packages[@]}"
fi

mkdir -p dist/backends
for core in local nfs ebs example bad group caller keeper facts; do
  from=$out/$target/guest/bulkhead_$core.wasm
  to=dist/backends/$core.wasm
  if [ ! -e "$to" ] || [ "$from" -nt "$to" ]; then
    "$CARGO_TARGET_DIR/debug/bulkhead-componentize" "$from" "$to"
  fi
done
