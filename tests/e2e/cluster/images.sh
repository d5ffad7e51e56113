#!/usr/bin/env bash
# Makes the images that pods of the test cluster run, as OCI archives to import, without a registry or a daemon.
#   BIN=DIR OUT=DIR images.sh [NAME...]    all, or those named: csi-provisioner csi-attacher csi-resizer csi-snapshotter
#                                          snapshot-controller pause busybox agnhost nginx
# BIN holds static Go binaries, each named as its image. Only what is missing in OUT, or older than what it is made of, is made.
# Exit code 1 with a list if a binary isn't there; the other images are made all the same.
# The last three, and pause, stand in for the images that the Kubernetes storage suites ask for, under the registry "localhost".
set -euo pipefail
BIN=${BIN:?a folder of static binaries} OUT=${OUT:?a folder for the archives}
here=$(cd "$(dirname "$0")" && pwd)
packer=$(cd "$here/../../../scripts" && pwd)/oci.py
sidecars=registry.k8s.io/sig-storage
mkdir -p "$OUT"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
missing=()

# Succeeds if OUT/$1.tar is younger than every other argument, and than what makes it.
fresh() {
  local archive=$OUT/$1.tar from
  shift
  for from in "$@" "$packer" "$here/images.sh"; do [ "$archive" -nt "$from" ] || return 1; done
}

put() { # archive image options
  local archive=$OUT/$1.tar image=$2
  shift 2
  printf '%-56s ' "$image"
  python3 "$packer" "$archive" --name "$image" "$@"
}

static() { # a binary: a loader that it asks for would be missing in its image
  if ldd "$1" >/dev/null 2>&1; then
    echo "images.sh: $1 is not static: build it with CGO_ENABLED=0" >&2
    exit 1
  fi
}

skeleton() { # folder: what programs expect beside themselves
  mkdir -p "$1"/{etc,tmp}
  echo 'root:x:0:0:root:/:/sbin/nologin
nonroot:x:65532:65532:nonroot:/:/sbin/nologin' > "$1/etc/passwd"
  echo 'root:x:0:
nonroot:x:65532:' > "$1/etc/group"
}

# A Go program alone in an image.
program() { # name image
  local name=$1 from=$BIN/$1 root=$work/$1
  [ -e "$from" ] || { missing+=("$from"); return 0; }
  fresh "$name" "$from" && return
  static "$from"
  skeleton "$root"
  cp "$from" "$root/$name"
  put "$name" "$2" --layer "$root" --set tmp=1777 --entrypoint "/$name"
}

# The folder that images with a shell begin with: a static busybox under all its names.
shell() {
  local root=$work/shell busybox applet
  busybox=$(command -v busybox) || { echo "images.sh: no busybox: apt-get install busybox-static" >&2; exit 1; }
  static "$busybox"
  [ ! -e "$root" ] || return 0
  skeleton "$root"
  mkdir -p "$root"/{bin,usr,proc,sys,dev,run,root,var}
  ln -s ../bin "$root/usr/bin"
  ln -s ../bin "$root/usr/sbin"
  ln -s bin "$root/sbin"
  cp "$busybox" "$root/bin/busybox"
  for applet in $(busybox --list); do [ "$applet" = busybox ] || ln -sf busybox "$root/bin/$applet"; done
}

shell_image() { # name image
  fresh "$1" "$(command -v busybox)" && return
  shell
  put "$1" "$2" --layer "$work/shell" --set tmp=1777 --cmd /bin/sh
}

image() {
  case $1 in
    csi-provisioner) program "$1" "$sidecars/$1:v6.3.0" ;;
    csi-attacher) program "$1" "$sidecars/$1:v4.13.0" ;;
    csi-resizer) program "$1" "$sidecars/$1:v2.3.0" ;;
    csi-snapshotter | snapshot-controller) program "$1" "$sidecars/$1:v8.7.0" ;;
    pause)
      fresh pause "$here/pause.c" && return
      mkdir -p "$work/pause"
      "${CC:-cc}" -static -Os -s -o "$work/pause/pause" "$here/pause.c"
      put pause localhost/pause:3.10.2 --layer "$work/pause" --user 65535:65535 --entrypoint /pause
      ;;
    busybox) shell_image busybox localhost/busybox:1.37.0-2 ;;
    # Suites run commands in it; nothing asks it for a page.
    nginx) shell_image nginx localhost/nginx:1.27.0-2 ;;
    agnhost)
      [ -e "$BIN/agnhost" ] || { missing+=("$BIN/agnhost"); return 0; }
      fresh agnhost "$BIN/agnhost" "$(command -v busybox)" && return
      static "$BIN/agnhost"
      shell
      mkdir -p "$work/agnhost"
      cp "$BIN/agnhost" "$work/agnhost/agnhost"
      put agnhost localhost/agnhost:2.66.1 --layer "$work/shell" --layer "$work/agnhost" --set tmp=1777 --entrypoint /agnhost --cmd pause
      ;;
    *) echo "images.sh: there is no image $1" >&2; exit 2 ;;
  esac
}

[ $# -gt 0 ] || set -- pause busybox nginx agnhost csi-provisioner csi-attacher csi-resizer csi-snapshotter snapshot-controller
for name in "$@"; do image "$name"; done
if [ ${#missing[@]} -gt 0 ]; then
  printf 'images.sh: not built: %s\n' "${missing[@]}" >&2
  exit 1
fi
