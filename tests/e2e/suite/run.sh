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
begin=$SECONDS
cd "$WORK/run"
"$here/../cluster/in.sh" env KUBE_TEST_REPO_LIST="$WORK/run/registries.yaml" \
  ginkgo --procs "${PROCS:-6}" --no-color --timeout 40m --focus 'External.Storage' --skip "$skip" \
  --json-report "$out/report.json" "$@" "$BIN/storage-e2e.test" -- -kubeconfig "$WORK/run/admin.kubeconfig" \
  -storage.testdriver "$here/$shape.yaml" -kubectl-path "$BIN/kubectl" > "$out/ginkgo.log" 2>&1 || true
python3 "$here/compare.py" "$out/report.json" "$here/$shape.specs" "$out/skipped.txt"
echo "suite: $((SECONDS - begin)) s; log: $out/ginkgo.log"
