#!/usr/bin/env bash
# Installs csi-sanity with Go. Where there is no Go the sanity tier says so loudly; with CI=true that is a failure.
set -euo pipefail
export PATH="/usr/local/go/bin:$HOME/go/bin:$PATH"
version=v5.5.0
if command -v csi-sanity >/dev/null; then exit 0; fi
if command -v go >/dev/null; then
  echo "setup: installing csi-sanity $version with go (under a minute, once)" >&2
  go install "github.com/kubernetes-csi/csi-test/v5/cmd/csi-sanity@$version"
  exit 0
fi
echo "setup: NO Go HERE: csi-sanity can't be installed and its tier will not run. Install Go 1.25 or newer." >&2
[ "${CI:-}" != true ]
