#!/usr/bin/env bash
# Installs what is missing for: build | demo | image | test | vm | e2e. Says what it installs; where it can't, says what to do and fails.
set -euo pipefail
purpose=${1:?build, demo, image, test, vm or e2e}
cd "$(dirname "$0")/.."
export PATH="$HOME/.cargo/bin:/usr/sbin:/sbin:$PATH"

say() { echo "setup: $*" >&2; }
fail() { say "$*"; exit 1; }
have() { command -v "$1" >/dev/null 2>&1; }
can_apt() { have apt-get && [ "$(id -u)" = 0 ]; }

updated=
apt_install() { # packages
  can_apt || fail "please install: $* (Debian names)"
  say "installing with apt: $*"
  [ -n "$updated" ] || { apt-get update -q >/dev/null; updated=1; }
  DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "$@" >/dev/null
}

need() { # command package
  have "$1" || apt_install "$2"
  have "$1" || fail "$1 is still missing after installing $2"
}

# A guest needs Rust's standard library for wasm32: rustup's target, or Debian's sources of it.
wasm_target() {
  have rustc && [ -d "$(rustc --print target-libdir --target wasm32-unknown-unknown 2>/dev/null)" ] && return
  debian_web && return
  if can_apt; then
    apt_install rustc-web cargo-web rust-web-src lld-22 && debian_web && return
  fi
  if have rustup; then
    say "adding the target wasm32-unknown-unknown with rustup"
    timeout 300 rustup target add wasm32-unknown-unknown && return
  fi
  fail "no Rust for wasm32: run 'rustup target add wasm32-unknown-unknown', or on Debian 'apt-get install rustc-web cargo-web rust-web-src lld-22'"
}
debian_web() {
  [ -x /usr/bin/rustc ] && [ -x /usr/bin/cargo ] && [ -d "$(/usr/bin/rustc --print sysroot)/lib/rustlib/src/rust/library/std" ] \
    && /usr/bin/rustc --print target-list | grep -qx wasm32-unknown-unknown
}

have cc || apt_install gcc libc6-dev
need unshare util-linux
have cargo || { can_apt && apt_install rustc-web cargo-web; }
have cargo || fail "no cargo: install Rust 1.95 or newer from rustup.rs, or on Debian 'apt-get install rustc-web cargo-web'"
wasm_target

# Clones share the target directories. Cargo judges by the age of sources, so what another clone built may look fresh here and
# be of another commit: our own packages are built anew when the clone changes, dependencies stay.
fresh() { # directory
  [ -d "$1" ] || return 0
  [ "$(cat "$1/.clone" 2>/dev/null)" != "$PWD" ] || return 0
  say "another clone has used $1: building this one's own packages anew"
  local packages=()
  for name in bulkhead bulkhead-{domain,node,proto,sdk,componentize,local,nfs,ebs,example,bad,group,caller,keeper,facts,tests,contract,model,e2e,ec2,vm}; do packages+=(-p "$name"); done
  CARGO_TARGET_DIR=$1 cargo clean --quiet --locked "${packages[@]}"
  CARGO_TARGET_DIR=$1 cargo clean --quiet --locked --profile guest "${packages[@]}" 2>/dev/null || true
  CARGO_TARGET_DIR=$1 cargo clean --quiet --locked --profile guest --target wasm32-unknown-unknown "${packages[@]}" 2>/dev/null || true
}
for dir in "${CARGO_TARGET_DIR:?}" "${BULKHEAD_GUEST_DIR:?}"; do
  fresh "$dir"
  mkdir -p "$dir" && echo "$PWD" > "$dir/.clone"
done

# The packer of images, and what goes into one.
if [ "$purpose" = image ] || [ "$purpose" = test ] || [ "$purpose" = e2e ]; then
  need python3 python3
  need strip binutils
  need mkfs.ext4 e2fsprogs
  need mkfs.xfs xfsprogs
fi

if [ "$purpose" = demo ] || [ "$purpose" = test ]; then
  if [ "$(id -u)" = 0 ]; then
    need mkfs.ext4 e2fsprogs
    need mkfs.xfs xfsprogs
    need losetup mount
  else
    say "not root: volumes will be directories in a user namespace; file systems on loop devices need root"
  fi
fi

if [ "$purpose" = test ]; then
  cargo fmt --version >/dev/null 2>&1 || rustup component add rustfmt 2>/dev/null || apt_install rustfmt-web || fail "no rustfmt"
  cargo clippy --version >/dev/null 2>&1 || rustup component add clippy 2>/dev/null || apt_install rust-web-clippy || fail "no clippy"
  if ! cargo deny --version >/dev/null 2>&1; then
    say "installing cargo-deny (a few minutes, once)"
    CARGO_TARGET_DIR="$HOME/.cache/bulkhead/tools" cargo install cargo-deny --version 0.20.2 --locked --quiet
  fi
  scripts/setup-sanity.sh
  # Where there is no Go the chart's tier says so loudly; with CI=true that is a failure.
  scripts/setup-helm.sh >/dev/null || [ "${CI:-}" != true ]
  # Likewise the tier of the backend in C where there is no clang for wasm32.
  scripts/setup-c.sh >/dev/null || [ "${CI:-}" != true ]
  # And the ec2 tier where there is no moto.
  scripts/setup-moto.sh >/dev/null || [ "${CI:-}" != true ]
fi

# The test VM: an emulator, and what it boots. Test programs in it use what is installed outside.
if [ "$purpose" = vm ]; then
  need mkfs.ext4 e2fsprogs
  need mkfs.xfs xfsprogs
  need losetup mount
  scripts/setup-vm.sh >/dev/null
fi

# The test cluster: its own programs are built from Go modules, what runs containers for it is Debian's.
if [ "$purpose" = e2e ]; then
  [ "$(id -u)" = 0 ] || fail "the test cluster needs root: namespaces, cgroups, loop devices"
  have go || fail "no go: install Go 1.26 or newer from go.dev/dl"
  need runc runc
  need busybox busybox-static
  need iptables iptables
  need ip iproute2
  need openssl openssl
  need losetup mount
  [ -x /usr/lib/cni/bridge ] || apt_install containernetworking-plugins
  scripts/setup-helm.sh >/dev/null
fi
