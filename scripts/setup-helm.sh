#!/usr/bin/env bash
# Prints the path of the pinned helm, after installing it with Go where it is missing; with --find, only if it is there. Other
# versions are not taken: what they render is compared byte by byte.
set -euo pipefail
version=v3.22.0
home=${BULKHEAD_HELM_DIR:-$HOME/.cache/bulkhead/helm-$version}
export PATH="/usr/local/go/bin:$PATH"
pinned() { # program: whether it is that version, by the stamp of a release or by the module it was built from
  [ -x "$1" ] || return 1
  case "$("$1" version --template '{{.Version}}' 2>/dev/null)" in "$version") return 0 ;; esac
  command -v go >/dev/null && go version -m "$1" 2>/dev/null | grep -q "helm.sh/helm/v3[[:space:]]*$version\b"
}
for program in "${BULKHEAD_HELM:-}" "$(command -v helm || true)" "$HOME/go/bin/helm" "$home/helm"; do
  if pinned "$program"; then echo "$program"; exit 0; fi
done
[ "${1:-}" != --find ] || exit 1
if ! command -v go >/dev/null; then
  echo "helm $version is missing: install Go 1.25 or newer, or put that helm into PATH or name it in BULKHEAD_HELM" >&2
  exit 1
fi
echo "setup: installing helm $version with go (about two minutes, once)" >&2
GOBIN=$home CGO_ENABLED=0 go install -trimpath -ldflags '-s -w' "helm.sh/helm/v3/cmd/helm@$version"
echo "$home/helm"
