#!/bin/bash
# run.sh SHAPE: the external-driver storage suite of the Kubernetes project against the running cluster, several specs at a time.
# What ran is compared with SHAPE.specs: one spec fewer, or one that fails, is a failure. BLESS=1 writes that list.
#   WORK, BIN   as for ../cluster/up.sh
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
shape=$1; shift
out=$WORK/log/suite
mkdir -p "$out"
# The suite's images, as ../cluster/images.sh names them.
for registry in promoterE2eRegistry buildImageRegistry gcEtcdRegistry gcRegistry sigStorageRegistry; do
  echo "$registry: localhost"
done > "$WORK/run/registries.yaml"
skip='Disruptive|Slow|Serial|performance'
# The snapshotter of a node looks only at contents that are labelled with it. The suite makes some by hand, and labels none.
[ "$shape" = per-node ] && skip="$skip|Pre-provisioned Snapshot"
# These restore with claims of 1 MiB whatever the driver's smallest size is, and the provisioner refuses claims below the snapshot's.
[ "$shape" = beside ] && skip="$skip|verify data consistency after restore"
in_cluster() { "$here/../cluster/in.sh" "$@"; }

# pass NAME FOCUS SKIP [OPTION...]: the specs of the suite whose names match FOCUS and not SKIP; NAME.json and NAME.log.
pass() {
  local name=$1 focus=$2 skip=$3; shift 3
  in_cluster env KUBE_TEST_REPO_LIST="$WORK/run/registries.yaml" \
    ginkgo --procs "${PROCS:-6}" --no-color --timeout 40m --focus "External.Storage.*($focus)" --skip "$skip" \
    --json-report "$out/$name.json" "$BIN/storage-e2e.test" -- -kubeconfig "$WORK/run/admin.kubeconfig" \
    -storage.testdriver "$here/$shape.yaml" -kubectl-path "$BIN/kubectl" "$@" > "$out/$name.log" 2>&1 || true
}

begin=$SECONDS
cd "$WORK/run"
rm -f "$out"/*.json
if [ "$shape" = per-node ]; then
  # A restore has to be where its snapshot is, and nothing tells the scheduler where that is: it may choose the other node for longer
  # than a spec waits. While specs restore, there is no other node.
  restores='snapshot data source|restoring snapshot|snapshottable'
  pass anywhere '' "$skip|$restores"
  trap 'in_cluster kubectl uncordon node2 > /dev/null' EXIT
  in_cluster kubectl cordon node2 > /dev/null
  pass one-node "$restores" "$skip" -allowed-not-ready-nodes 1
else
  pass all '' "$skip"
fi
python3 "$here/compare.py" "$here/$shape.specs" "$out/skipped.txt" "$out"/*.json
echo "suite: $((SECONDS - begin)) s; logs: $out/*.log"
