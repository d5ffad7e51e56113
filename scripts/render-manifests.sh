#!/usr/bin/env bash
# Renders deploy/manifests from the chart: one file for each of deploy/helm/examples. With a folder as argument, renders into that.
set -euo pipefail
cd "$(dirname "$0")/.."
out=${1:-deploy/manifests}
helm=$(scripts/setup-helm.sh)
mkdir -p "$out"
for values in deploy/helm/examples/*.yaml; do
  name=$(basename "$values")
  {
    echo "# Rendered from deploy/helm with examples/$name by scripts/render-manifests.sh: change those, not this."
    "$helm" template bulkhead deploy/helm --namespace bulkhead-system --kube-version 1.34.0 \
      --set namespace.create=true --values "$values" | sed '/^# Source: /d'
  } > "$out/$name"
done
