#!/usr/bin/env bash
# Runs a command with a cargo on PATH: rustup's if there is one, otherwise Debian's (packages rustc-web, cargo-web).
set -euo pipefail
command -v cargo >/dev/null || [ ! -x "$HOME/.cargo/bin/cargo" ] || PATH="$HOME/.cargo/bin:$PATH"
exec "$@"
