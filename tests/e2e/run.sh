#!/bin/bash
# Bulkhead in a real Kubernetes cluster, from its manifests and its image.
#   run.sh all                 everything: what `make e2e` does
#   run.sh up SHAPE            cluster, snapshot-controller, manifests of deploy/; SHAPE: per-node (two nodes) or beside (one)
#   run.sh flows SHAPE [NAME]  flows of users
#   run.sh suite SHAPE         the external-driver storage suite of the Kubernetes project
#   run.sh audit SHAPE         what the sidecars may do, against what they did
#   run.sh down                takes the cluster down
#   run.sh sh COMMAND...       a command inside the cluster, like `run.sh sh kubectl get pods -A`; `-n 1 COMMAND` on node 1
# A cluster that is up is used as it is, and what has passed on it is not run again: after a failure, mend and call `all` again with
# KEEP=1 set both times. Logs: $BULKHEAD_E2E_DIR/work/log.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd) top=$(cd "$(dirname "$0")/../.." && pwd)
export BULKHEAD_E2E_DIR=${BULKHEAD_E2E_DIR:-$HOME/.cache/bulkhead/e2e}
export WORK=$BULKHEAD_E2E_DIR/work IMAGES=$BULKHEAD_E2E_DIR/images
target=${CARGO_TARGET_DIR:-$HOME/.cache/bulkhead/target}
say() { printf '%s\n' "e2e: $*"; }
in_cluster() { "$here/cluster/in.sh" "$@"; }

programs() {
  BIN=$("$here/cluster/build.sh")
  export BIN
}

images() {
  BIN=$BIN OUT=$IMAGES "$here/cluster/images.sh"
  cp -f "$top/dist/bulkhead-image.tar" "$IMAGES/bulkhead.tar"
  next_build
}

# The image of another build, for the flow that upgrades: same version, `-next` at its end. Only the program itself is linked anew.
next_build() {
  local image=$IMAGES/bulkhead-next.tar version
  [ "$image" -nt "$top/dist/bulkhead" ] && return
  version=$("$top/dist/bulkhead" --version | cut -d' ' -f2)-next
  (
    cd "$top"
    export CARGO_TARGET_DIR=$target
    BULKHEAD_BUILD=$version scripts/with-toolchain.sh cargo build --quiet --workspace --locked --bins
    cp -f "$target/debug/bulkhead" "$BULKHEAD_E2E_DIR/bulkhead-next"
    HOST=$BULKHEAD_E2E_DIR/bulkhead-next IMAGE=ghcr.io/bulkhead-csi/bulkhead:$version scripts/image.sh "$image" > "$BULKHEAD_E2E_DIR/next-image.log"
    rm -f "${image%.tar}.txt"
    # So that the next build finds its own program there.
    scripts/with-toolchain.sh cargo build --quiet --workspace --locked --bins
  )
}

# Whether a cluster of that shape is up.
is_up() { [ -f "$WORK/run/shape" ] && [ "$(cat "$WORK/run/shape")" = "$1" ] && in_cluster kubectl get --raw /readyz >/dev/null 2>&1; }

up() {
  local shape=$1 nodes=1
  [ "$shape" = per-node ] && nodes=2
  is_up "$shape" && { say "a cluster of shape $shape is up"; return; }
  programs; images
  rm -rf "$WORK/log"
  local begin=$SECONDS
  NODES=$nodes "$here/cluster/up.sh"
  say "$nodes node(s) Ready in $((SECONDS - begin)) s"
  in_cluster kubectl apply --server-side -f "$BIN/crd" >> "$WORK/log/install.log"
  in_cluster kubectl wait --for=condition=Established crd --all --timeout=30s >> "$WORK/log/install.log"
  in_cluster kubectl apply -f "$BIN/rbac-snapshot-controller.yaml" >> "$WORK/log/install.log"
  sed "s/DISTRIBUTED/$([ "$shape" = per-node ] && echo true || echo false)/" "$here/cluster/snapshot-controller.yaml" |
    in_cluster kubectl apply --validate=strict -f - >> "$WORK/log/install.log"
  begin=$SECONDS
  in_cluster kubectl apply --validate=strict -f "$top/deploy/manifests/local-$shape.yaml" >> "$WORK/log/install.log"
  in_cluster kubectl -n kube-system rollout status deployment/snapshot-controller --timeout=90s >> "$WORK/log/install.log"
  if ! in_cluster kubectl -n bulkhead-system rollout status daemonset --timeout=120s >> "$WORK/log/install.log" 2>&1; then
    in_cluster kubectl -n bulkhead-system get pods -o wide
    in_cluster kubectl -n bulkhead-system describe pods | tail -40
    in_cluster kubectl -n bulkhead-system logs daemonset/bulkhead-node -c bulkhead --tail=20
    return 1
  fi
  say "installed in $((SECONDS - begin)) s"
  echo "$shape" > "$WORK/run/shape"
}

flows() {
  local shape=$1; shift
  in_cluster env TOP="$top" "${E2E:-$target/debug/bulkhead-e2e}" --shape "$shape" ${KEEP:+--passed "$WORK/log/passed"} "$@"
}

suite() { "$here/suite/run.sh" "$1"; }

down() { "$here/cluster/down.sh"; }

# What was granted to the sidecars, against what they did in all of the above.
audit() { flows "$1" --audit "$here/audit-exceptions.txt"; }

one() {
  up "$1"
  flows "$1"
  suite "$1"
  audit "$1"
  [ -n "${KEEP:-}" ] || down
}

command=${1:-all}
[ $# -gt 0 ] && shift
case $command in
  all)
    [ -n "${KEEP:-}" ] || trap down EXIT
    one per-node
    one beside
    say "everything passed"
    ;;
  up | flows | suite | audit) programs; $command "$@" ;;
  down) down ;;
  sh) programs; in_cluster "$@" ;;
  *) sed -n '2,10s/^# \{0,1\}//p' "$0"; exit 2 ;;
esac
