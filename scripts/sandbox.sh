#!/usr/bin/env bash
# Runs a command in a mount namespace of its own, so that no mount of a test can outlive it or be seen by others.
# Without root the command runs as it is; tests that mount say so themselves.
set -euo pipefail
if [ "$(id -u)" = 0 ]; then exec unshare --mount --propagation private -- "$@"; fi
exec "$@"
