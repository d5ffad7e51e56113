#!/usr/bin/env bash
# Shows a volume's life in a private mount namespace; without root in a user namespace, with a directory volume.
set -euo pipefail
cd "$(dirname "$0")/.."
demo=${CARGO_TARGET_DIR:?}/debug/bulkhead-demo
if [ "$(id -u)" = 0 ]; then
  unshare --mount --propagation private -- "$demo" --host dist/bulkhead --backend dist/backends/local.wasm
else
  unshare --user --map-root-user --mount --propagation private -- \
    "$demo" --host dist/bulkhead --backend dist/backends/local.wasm --directory-only
fi
mounts=$(grep -c bulkhead-demo /proc/self/mountinfo || true)
loops=$(grep -l bulkhead-demo /sys/block/loop*/loop/backing_file 2>/dev/null | wc -l || true)
echo
echo "after the demo: $mounts mounts and $loops loop devices of it"
[ "$mounts" = 0 ] && [ "$loops" = 0 ]
